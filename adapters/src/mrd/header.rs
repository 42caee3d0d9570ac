//! The XML header of a stream: the few values that a run needs.

use roxmltree::{Document, Node};

/// Repetition times that a header may say, in seconds.
const PLAUSIBLE_S: std::ops::RangeInclusive<f64> = 0.05..=60.0;

/// What the XML header says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Protocol {
    /// `sequenceParameters/TR`, if it can be one.
    pub(super) repetition_time_s: Option<f64>,
    /// Slices of a volume, from the encoding limits.
    pub(super) n_slices: Option<u16>,
    /// Volumes, from the encoding limits.
    pub(super) n_volumes: Option<u32>,
}

impl Protocol {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let document = Document::parse(text.trim_start_matches('\u{feff}'))
            .map_err(|error| format!("found an XML header that is none: {error}"))?;
        let root = document.root_element();
        let tr_ms: Option<f64> = value(root, &["sequenceParameters", "TR"]);
        let limit = |name| value::<u32>(root, &["encoding", "encodingLimits", name, "maximum"]);
        let repetition_time_s = tr_ms.map(|ms| ms / 1e3).filter(|tr| PLAUSIBLE_S.contains(tr));
        if let (Some(ms), None) = (tr_ms, repetition_time_s) {
            tracing::warn!("the XML header says a TR of {ms} ms, which is none of a volume");
        }
        let count = |maximum: u32| maximum.checked_add(1);
        Ok(Self {
            repetition_time_s,
            // A limit of 0 is also what senders write who do not know.
            n_slices: limit("slice").filter(|n| *n > 0).and_then(|n| u16::try_from(n + 1).ok()),
            n_volumes: limit("repetition").filter(|n| *n > 0).and_then(count),
        })
    }
}

/// The first element at this path, as a number.
fn value<T: std::str::FromStr>(root: Node<'_, '_>, path: &[&str]) -> Option<T> {
    let element = path.iter().try_fold(root, |node, name| {
        node.children().find(|child| child.tag_name().name() == *name)
    })?;
    element.text()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_found_and_what_cannot_be_one_is_left_out() {
        let text = r#"<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
            <encoding><encodingLimits><slice><minimum>0</minimum><maximum>29</maximum></slice>
            <repetition><maximum>99</maximum></repetition></encodingLimits></encoding>
            <sequenceParameters><TR> 1500 </TR><TR>9</TR></sequenceParameters></ismrmrdHeader>"#;
        let expected =
            Protocol { repetition_time_s: Some(1.5), n_slices: Some(30), n_volumes: Some(100) };
        assert_eq!(Protocol::parse(text), Ok(expected));
        let odd = text.replace("1500", "4").replace("99", "4294967295").replace("29", "x");
        assert_eq!(Protocol::parse(&odd), Ok(Protocol::default()));
        Protocol::parse("no XML").unwrap_err();
        Protocol::parse("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>").unwrap_err();
    }
}
