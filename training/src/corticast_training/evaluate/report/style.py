"""The page's style: readable on white and on black, on a screen and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f5f6f8; --line: #d9dce1; --text: #1b1f24; --soft: #5b6470;
  --ours: #1f6feb; --theirs: #b26a00; --control: #9aa3ae;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #111418; --raised: #1a1f25; --line: #333b45; --text: #e8ebef; --soft: #a0a9b4;
    --ours: #6ea8fe; --theirs: #e0a050; --control: #6b7580;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem;
  background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
}
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p, li { max-width: 70ch; }
.soft { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .75rem; }
.tile { background: var(--raised); border: 1px solid var(--line); border-radius: .5rem;
  padding: .75rem 1rem; }
.tile strong { display: block; font-size: 1.6rem; font-variant-numeric: tabular-nums; }
.tile small { display: block; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: baseline; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 14rem; }
thead th { color: var(--soft); font-weight: 600; }
tr.group th { background: var(--raised); text-align: left; }
tr.ours td { font-weight: 600; color: var(--ours); }
td small { color: var(--soft); }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr));
  gap: 1rem; }
.example { background: var(--raised); border: 1px solid var(--line); border-radius: .5rem;
  padding: .75rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
figure { margin: 0; }
figure img { width: 100%; display: block; border-radius: .25rem; background: var(--line); }
figcaption { color: var(--soft); font-size: .8rem; }
.example p { margin: .35rem 0 0; font-size: .9rem; }
.bars { display: grid; grid-template-columns: minmax(9rem, 14rem) 1fr 7rem; gap: .15rem .75rem;
  align-items: center; font-size: .9rem; }
.track { position: relative; height: 1.1rem; border-left: 1px solid var(--line); }
.bar { position: absolute; left: 0; height: .45rem; border-radius: 0 .2rem .2rem 0; }
.bar.ours { top: .05rem; background: var(--ours); }
.bar.theirs { bottom: .05rem; background: var(--theirs); }
.value { font-variant-numeric: tabular-nums; color: var(--soft); text-align: right; }
.key::before { content: ""; display: inline-block; width: .8rem; height: .45rem;
  margin-right: .35rem; border-radius: .1rem; }
.key.ours::before { background: var(--ours); }
.key.theirs::before { background: var(--theirs); }
.key + .key { margin-left: 1rem; }
@media print { body { max-width: none; } .example, tr { break-inside: avoid; } }
"""
