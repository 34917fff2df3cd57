//! `training.threads` counts what tokenises and decodes too. A process sets that once: the test is alone.

use covalign::config::Config;
use covalign::libtorch;
use covalign::train::step::precision::Arithmetic;

#[test]
fn as_many_threads_tokenise_and_decode_as_compute() {
    let mut config = Config::default();
    config.training.threads = Some(3);
    Arithmetic::new(&config).unwrap();
    assert_eq!(tch::get_num_threads(), 3);
    assert_eq!(rayon::current_num_threads(), 3);
    // What lies between two products too: attention, LayerNorm, GELU, AdamW.
    assert_eq!(libtorch::pass_threads(), 3);
}
