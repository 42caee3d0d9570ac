//! What a page of the doctor is made of, whatever it is about: advice, and how volumes arrived.

mod advice;
mod regularity;

pub(crate) use self::{
    advice::{Advice, listed, note, wrong},
    regularity::{Lateness, Regularity, are_apart},
};
