//! What a restart reads out of recorded products, which are lines of JSON.

/// The raw value of a recorded score.
pub(super) fn raw_score(json: &[u8]) -> Option<f64> {
    #[derive(serde::Deserialize)]
    struct Line {
        own: Own,
    }
    #[derive(serde::Deserialize)]
    struct Own {
        raw: Option<f64>,
    }
    serde_json::from_slice::<Line>(json).ok()?.own.raw
}

/// What a recorded report is about.
#[derive(serde::Deserialize)]
pub(super) struct About {
    pub(super) run: String,
    pub(super) index: Option<u32>,
    state: Option<String>,
}

impl About {
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.as_deref() == Some("ended")
    }
}
