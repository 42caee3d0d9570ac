"""The evaluation as one self-contained HTML file, without network access or scripts."""
