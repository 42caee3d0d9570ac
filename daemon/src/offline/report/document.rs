//! The report for programs: everything that was done to the data, and its quality, as JSON.
//!
//! The sections follow COBIDAS (Nichols et al. 2017, Nature Neuroscience 20:299). Keys have their
//! unit in their name and are only ever added. What is not known is `null`.

use serde_json::{Map, Value, json};

use super::{
    facts::RunFacts,
    judge::{Judged, Stats},
    settings::{Settings, without_folders},
};

/// The document of a run.
pub(super) fn document(run: &RunFacts, judged: &Judged, unblind: bool) -> String {
    let settings = Settings(&run.session);
    let entities = &run.header.entities;
    let document = json!({
        "format": "corticast-report",
        "format_version": 1,
        "made_by": format!("corticast {}", env!("CARGO_PKG_VERSION")),
        "run": {
            "name": run.name,
            "subject": entities.sub,
            "session": entities.ses,
            "task": entities.task,
            "run": entities.run,
            "session_name": run.session.get("name"),
            "has_ended": run.has_ended,
        },
        "verdict": judged.verdict,
        "acquisition": acquisition(run),
        "preprocessing": preprocessing(settings),
        "quality": quality(run, judged),
        "decoding": decoding(run),
        "feedback": feedback(run, settings, unblind),
        "missing_data": missing(run, judged),
        "timing": timing(run),
        "triggers": run.triggers,
        "events": run.marks.iter().map(|mark| json!({
            "onset_s": mark.time_s, "name": mark.name, "duration_s": mark.value,
        })).collect::<Vec<_>>(),
        "notes": run.notes.iter().map(|note| json!({
            "time_since_start_s": note.time_s, "kind": note.kind, "text": note.text,
        })).collect::<Vec<_>>(),
        "n_notes_not_listed": run.n_unlisted_notes,
        "recording": {
            "is_damaged": !run.faults.is_empty(),
            "faults": run.faults,
            "cuts": run.cuts,
        },
        "settings": settings.effective(),
    });
    let mut text = String::new();
    put(&document, 0, &mut text);
    text.push('\n');
    text
}

fn acquisition(run: &RunFacts) -> Value {
    let (header, first) = (&run.header, run.first.as_ref());
    json!({
        "repetition_time_s": run.tr_s(),
        "matrix": header.space.matrix(),
        "voxel_size_mm": header.space.voxel_size_mm(),
        "affine": header.space.affine(),
        "n_volumes_planned": header.n_volumes,
        "n_volumes_recorded": run.recorded.len(),
        "duration_s": run.recorded.last().map(|last| f64::from(last + 1) * run.tr_s()),
        "source": header.source,
        "stored_type": first.map(|first| first.dtype),
        "slope": first.and_then(|first| first.slope),
        "intercept": first.and_then(|first| first.intercept),
    })
}

fn preprocessing(settings: Settings<'_>) -> Value {
    let stages = settings.stages().into_iter().map(|stage| {
        json!({
            "stage": stage.name,
            "meaning": stage.meaning,
            "is_on": stage.is_on,
            "parameters": stage.parameters,
            "reference": stage.reference,
            "software": "corticast",
            "software_version": settings.version(),
        })
    });
    stages.collect()
}

fn quality(run: &RunFacts, judged: &Judged) -> Value {
    let mut columns = Map::new();
    let rows = &run.volumes;
    let mut column = |key: &str, values: Vec<Value>| {
        columns.insert(key.to_owned(), Value::Array(values));
    };
    column("index", rows.iter().map(|row| row.index.into()).collect());
    column("acquisition_time_s", rows.iter().map(|row| row.time_s.into()).collect());
    column("fd_mm", rows.iter().map(|row| row.fd_mm.into()).collect());
    column("dvars", rows.iter().map(|row| row.dvars.into()).collect());
    column("tsnr_so_far", rows.iter().map(|row| row.tsnr.into()).collect());
    column("is_spike", rows.iter().map(|row| row.is_spike.into()).collect());
    let names = ["trans_x_mm", "trans_y_mm", "trans_z_mm", "rot_x_rad", "rot_y_rad", "rot_z_rad"];
    for (axis, name) in names.into_iter().enumerate() {
        column(name, rows.iter().map(|row| row.motion.map(|m| m[axis]).into()).collect());
    }
    let maps = run.maps.as_ref();
    json!({
        "summary": {
            "fd_mm": judged.fd.map(summary),
            "dvars": judged.dvars.map(summary),
            "n_spikes": judged.n_spikes,
            "tsnr_median": maps.and_then(|maps| maps.tsnr_median),
            "tsnr_n_volume": maps.map(|maps| maps.n_volume),
            "tsnr_n_voxel": maps.map(|maps| maps.n_brain),
            "tsnr_method": "mean / s.d. after a linear fit, n - 2 degrees of freedom; the median \
                            is over voxels whose mean reaches the threshold of Otsu 1979, IEEE \
                            Trans. Syst. Man Cybern. 9:62",
        },
        "volumes": columns,
        "n_volumes_not_listed": run.n_unlisted_volumes,
    })
}

fn summary(stats: Stats) -> Value {
    json!({
        "n": stats.n,
        "mean": stats.mean,
        "max": stats.max,
        "max_index": stats.max_index,
        "threshold": stats.threshold,
        "n_above_threshold": stats.n_above,
    })
}

fn decoding(run: &RunFacts) -> Value {
    let results = &run.results;
    json!({
        "model": run.session.get("model").map(|model| without_reason(model.clone())),
        "n_results": results.n,
        "n_results_blanked": results.n_blanked,
        "n_results_made_from": results.made_from,
        "n_failed_heads": results.failed_heads,
        "n_clips": results.n_clips,
    })
}

/// A model without the reason of its fallback, which may name a path.
fn without_reason(mut model: Value) -> Value {
    if let Some(model) = model.as_object_mut() {
        model.remove("fallback_reason");
    }
    model
}

fn feedback(run: &RunFacts, settings: Settings<'_>, unblind: bool) -> Value {
    let found = &run.feedback;
    if found.scores.is_empty() && settings.section("feedback").is_none() {
        return Value::Null;
    }
    let column = |value: fn(&super::facts::Score) -> Option<f64>| -> Value {
        found.scores.iter().map(|score| Value::from(value(score))).collect()
    };
    let mut feedback = json!({
        "settings": settings.section("feedback").cloned().map(without_folders),
        "is_assignment_sealed": !found.shows_own(unblind),
        "n_scores": found.scores.len(),
        "n_in_state": found.states,
        "n_blanked": found.n_blanked,
        "blocks": found.blocks.iter().map(|block| json!({
            "kind": block.kind,
            "block_index": block.number,
            "condition": block.condition,
            "first_stimulus_time_s": block.from_s,
            "last_stimulus_time_s": block.to_s,
        })).collect::<Vec<_>>(),
        "scores": {
            "acquisition_time_s": column(|score| Some(score.time_s)),
            "stimulus_time_s": column(|score| Some(score.stimulus_time_s)),
            "shown": column(|score| score.shown),
        },
    });
    if found.shows_own(unblind) {
        feedback["scores"]["own"] = column(|score| score.own);
    }
    feedback
}

fn missing(run: &RunFacts, judged: &Judged) -> Value {
    let dropped = run.volumes.iter().filter_map(|row| {
        let reason = row.dropped.as_ref()?;
        Some(json!({ "index": row.index, "reason": reason }))
    });
    let time_off = run.volumes.iter().filter(|row| row.is_time_off).map(|row| row.index);
    json!({
        "n_acquired": judged.n_acquired,
        "n_used": judged.n_used,
        "n_missing": judged.lost.n_missing,
        "n_late": judged.lost.n_late,
        "n_dropped": judged.lost.n_dropped,
        "n_damaged_index": run.n_far,
        "missing_in_recording": judged.missing,
        "dropped": dropped.collect::<Vec<_>>(),
        "time_replaced": time_off.collect::<Vec<_>>(),
        "n_restarts": run.n_restarts(),
    })
}

fn timing(run: &RunFacts) -> Value {
    let latency = &run.latency;
    let tr_ns = run.tr_s() * 1e9;
    let stages = latency.in_order().into_iter().map(|(stage, time)| {
        let mean_ns = time.sum_ns as f64 / time.n.max(1) as f64;
        json!({
            "stage": stage,
            "n": time.n,
            "mean_ms": mean_ns / 1e6,
            "max_ms": time.max_ns as f64 / 1e6,
            "load_of_tr": mean_ns / tr_ns,
        })
    });
    json!({
        "received_to_published_ms": {
            "n": latency.received_to_published_ns.len(),
            "p50": latency.quantile_ms(0.5),
            "p99": latency.quantile_ms(0.99),
            "max": latency.quantile_ms(1.0),
        },
        "stages": stages.collect::<Vec<_>>(),
    })
}

/// Writes JSON for people: one key a line, and a list of plain values on one line.
fn put(value: &Value, depth: usize, text: &mut String) {
    let is_plain = |value: &Value| !value.is_array() && !value.is_object();
    let line = |depth: usize, text: &mut String| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    match value {
        Value::Array(items) if !items.iter().all(is_plain) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                line(depth + 1, text);
                put(item, depth + 1, text);
            }
            line(depth, text);
            text.push(']');
        }
        Value::Object(map) if !map.is_empty() => {
            text.push('{');
            for (at, (key, item)) in map.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                line(depth + 1, text);
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push_str(": ");
                put(item, depth + 1, text);
            }
            line(depth, text);
            text.push('}');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers_take_one_line_and_the_text_is_json() {
        let value = json!({"a": [1, 2.5, null], "b": [{"c": "x\"y"}], "d": {}, "e": []});
        let mut text = String::new();
        put(&value, 0, &mut text);
        assert!(text.contains("\"a\": [1,2.5,null]"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
