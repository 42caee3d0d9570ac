//! Checks messages of workers, which are not trusted.

use corticast_models::generator::Mode;
use corticast_wire::{
    text::printable,
    work::{Hello, MadeHeader, MadePictures, WORK_PROTOCOL},
};

use super::maker::MadeClip;
use crate::{plan::clips::ClipPlan, product::clips::ClipPictures};

/// Characters of a worker's texts that are kept.
pub(super) const MAX_TEXT_CHARS: usize = 200;

/// Why a worker is refused; `None` if it is accepted. Its clips become clips of this session, so
/// its files and settings must be the same.
pub(super) fn refusal(hello: &Hello, plan: &ClipPlan) -> Option<String> {
    let settings = plan.settings();
    if hello.protocol != WORK_PROTOCOL {
        let found = hello.protocol;
        Some(format!("uses work protocol {found}, expected {WORK_PROTOCOL}"))
    } else if hello.files != plan.identity() {
        Some(
            "has other model files than the daemon: copy `dir` of [model] and of [generator] \
             to it again"
                .to_owned(),
        )
    } else if hello.settings != settings {
        Some(format!(
            "makes clips with other settings: {}, expected {settings}",
            printable(&hello.settings, MAX_TEXT_CHARS)
        ))
    } else {
        None
    }
}

/// The clip made by the worker `name`.
///
/// # Errors
///
/// Returns the reason when the clip is not valid for this plan.
pub(super) fn made_clip(
    header: MadeHeader,
    pictures: MadePictures,
    plan: &ClipPlan,
    name: &str,
) -> Result<MadeClip, String> {
    let mode = [Mode::Still, Mode::Live, Mode::Reference];
    let Some(mode) = mode.into_iter().find(|mode| mode.name() == header.mode) else {
        let mode = printable(&header.mode, MAX_TEXT_CHARS);
        return Err(format!(
            "worker `{name}` made a clip of mode {mode:?}, expected still, live or reference"
        ));
    };
    let n_byte = pictures.frames.len() + pictures.blurry.len() + pictures.mask.len();
    let most = plan.bytes();
    if n_byte > most {
        return Err(format!(
            "worker `{name}` sent a clip of {n_byte} bytes, expected at most {most}"
        ));
    }
    if header.mask_edge as usize > 0 && pictures.mask.iter().any(|&value| value > 1) {
        return Err(format!("worker `{name}` sent mask values other than 0 and 1"));
    }
    Ok(MadeClip {
        mode,
        steps: header.steps as usize,
        seed: header.seed,
        caption: header.caption,
        caption_cut: header.caption_cut,
        n_frame: header.n_frame as usize,
        edge: header.edge as usize,
        took_ns: header.took_ns,
        pictures: ClipPictures {
            frames: pictures.frames,
            blurry: pictures.blurry,
            blurry_edge: header.blurry_edge as usize,
            mask: pictures.mask,
            mask_edge: header.mask_edge as usize,
        },
    })
}
