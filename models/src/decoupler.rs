//! The decoupler: heads that each read one thing out of the prior's tokens.
//!
//! [`motion::Motion`] spreads the tokens over the frames of a clip; the heads read the frames. A
//! head that fails costs its own readout and that of a head that needs it, but not the window.

pub mod caption;
pub mod concepts;
pub mod head;
pub mod motion;
pub mod objects;
pub mod reconstruction;

use std::fmt;

use serde::{Deserialize, Serialize};

/// A head, by its name in the configuration, in metrics and in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// Probability of each class.
    Concepts,
    /// Masks of the most probable class.
    Objects,
    /// A blurry clip, as latents.
    Reconstruction,
    /// A caption.
    Caption,
}

impl Head {
    /// Every head, in the order in which they are run.
    pub const ALL: [Self; 4] = [Self::Concepts, Self::Objects, Self::Reconstruction, Self::Caption];

    /// Its name in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Concepts => "concepts",
            Self::Objects => "objects",
            Self::Reconstruction => "reconstruction",
            Self::Caption => "caption",
        }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
