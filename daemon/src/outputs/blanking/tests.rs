use std::collections::BTreeMap;

use corticast_bold::{
    time::TrIndex,
    volume::{MadeFrom, ShiftInterpolation},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    outputs::board::Posted,
    product::results::{ConditionsReport, DecodedResult, Probabilities},
};

fn result() -> Product {
    let names: Arc<[String]> = Arc::new(["cat".to_owned()]);
    Product::Result(DecodedResult {
        run: "sub-01".into(),
        index: TrIndex(3),
        stimulus_time_s: 1.0,
        acquisition_time_s: 5.0,
        received_ns: 0,
        stages_ns: BTreeMap::new(),
        published_ns: 0,
        concepts: Probabilities { names, values: vec![0.9], is_exclusive: false },
        caption: Some("a cat".to_owned()),
        failed_heads: Vec::new(),
        made_from: MadeFrom::Measured,
        shift: ShiftInterpolation::Nearest,
        dvars: None,
        fd_mm: None,
        is_spike: false,
        blanked: false,
    })
}

fn conditions() -> Product {
    Product::Conditions(ConditionsReport {
        run: "sub-01".into(),
        index: TrIndex(3),
        stimulus_time_s: 1.0,
        received_ns: 0,
        published_ns: 0,
        blanked: false,
        tensors: Bytes::from_static(b"pictures"),
    })
}

fn check_hidden(shown: Product) {
    match shown {
        Product::Result(shown) => {
            assert!(shown.blanked);
            assert_eq!(shown.concepts.values, [0.5]);
            assert_eq!(shown.caption.as_deref(), Some(""));
        }
        Product::Conditions(shown) => assert!(shown.blanked && shown.tensors.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_decoded_before_blank_or_while_it_held_is_never_shown() {
    let board = Board::new(Value::Null);
    for product in [result(), conditions()] {
        let blanking = Blanking::new(false);
        assert_eq!(blanking.sending().await.shown(product.clone()), product);
        blanking.blank(&board).await;
        check_hidden(blanking.sending().await.shown(product.clone()));
        // Decoded while blanked, sent after `unblank`.
        let late = blanking.mark(product.clone());
        blanking.unblank();
        check_hidden(blanking.sending().await.shown(late));
        assert_eq!(blanking.sending().await.shown(blanking.mark(product.clone())), product);
    }
}

#[tokio::test]
async fn blank_clears_the_board_and_waits_for_a_product_that_is_being_sent() {
    let board = Board::new(Value::Null);
    let blanking = Blanking::new(false);
    let sending = blanking.sending().await;
    let product = sending.shown(result());
    let waiting = tokio::spawn({
        let (blanking, board) = (blanking.clone(), board.clone());
        async move { blanking.blank(&board).await }
    });
    while !blanking.is_blanked() {
        tokio::task::yield_now().await;
    }
    // The product is put on the board after `blank` began.
    board.put(Posted { product, sequence: 0, clocks: None });
    assert!(!waiting.is_finished());
    drop(sending);
    waiting.await.unwrap();
    let last = board.last("concepts").unwrap();
    assert_eq!((&last["cat"], &last["caption"]), (&Value::Null, &json!("")), "{last}");
    assert_eq!(last["concepts"], json!({ "cat": 0.5 }));
    assert_eq!(last["blanked"], true);
}
