//! What TensorBoard's HParams page reads: which parameters and metrics there are, a run's values,
//! its end.

use protobuf::well_known_types::Value;
use protobuf::{Message, RepeatedField};
use tensorboard_proto::api::{
    DataType, DatasetType, Experiment, HParamInfo, MetricInfo, MetricName, Status,
};
use tensorboard_proto::plugin_hparams::{HParamsPluginData, SessionEndInfo, SessionStartInfo};

/// A hyper-parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum HParam {
    Number(f64),
    Text(String),
    Bool(bool),
}

/// The plugin's message and the tag that it belongs under.
pub(super) struct PluginData {
    pub tag: &'static str,
    /// A serialised `HParamsPluginData`.
    pub content: Vec<u8>,
}

/// `HParamInfo.differs`, which the crate's copy of the protocol does not have yet. TensorBoard sets
/// such parameters first.
const DIFFERS: u32 = 7;

/// The names and kinds of the parameters, those of `notable` first, and the scalar tags that are the
/// results.
pub(super) fn experiment(
    hparams: &[(String, HParam)],
    notable: &[String],
    metrics: &[String],
    created: f64,
) -> PluginData {
    let parameter = |(name, value): &(String, HParam)| {
        let mut info = HParamInfo::new();
        info.set_name(name.clone());
        info.set_field_type(match value {
            HParam::Number(_) => DataType::DATA_TYPE_FLOAT64,
            HParam::Text(_) => DataType::DATA_TYPE_STRING,
            HParam::Bool(_) => DataType::DATA_TYPE_BOOL,
        });
        if notable.contains(name) {
            info.mut_unknown_fields().add_varint(DIFFERS, 1);
        }
        info
    };
    let metric = |tag: &String| {
        let mut name = MetricName::new();
        name.set_tag(tag.clone());
        let mut info = MetricInfo::new();
        info.set_name(name);
        info.set_dataset_type(DatasetType::DATASET_VALIDATION);
        info
    };
    let mut experiment = Experiment::new();
    experiment.set_hparam_infos(hparams.iter().map(parameter).collect());
    experiment.set_metric_infos(metrics.iter().map(metric).collect::<RepeatedField<_>>());
    experiment.set_time_created_secs(created);
    let mut data = HParamsPluginData::new();
    data.set_experiment(experiment);
    serialised("_hparams_/experiment", data)
}

/// A run's values.
pub(super) fn session_start(hparams: &[(String, HParam)], started: f64) -> PluginData {
    let value = |value: &HParam| {
        let mut out = Value::new();
        match value {
            HParam::Number(number) => out.set_number_value(*number),
            HParam::Text(text) => out.set_string_value(text.clone()),
            HParam::Bool(flag) => out.set_bool_value(*flag),
        }
        out
    };
    let mut start = SessionStartInfo::new();
    let values = hparams.iter().map(|(name, v)| (name.clone(), value(v)));
    start.set_hparams(values.collect());
    start.set_start_time_secs(started);
    let mut data = HParamsPluginData::new();
    data.set_session_start_info(start);
    serialised("_hparams_/session_start_info", data)
}

/// That the run succeeded.
pub(super) fn session_end(ended: f64) -> PluginData {
    let mut end = SessionEndInfo::new();
    end.set_status(Status::STATUS_SUCCESS);
    end.set_end_time_secs(ended);
    let mut data = HParamsPluginData::new();
    data.set_session_end_info(end);
    serialised("_hparams_/session_end_info", data)
}

fn serialised(tag: &'static str, data: HParamsPluginData) -> PluginData {
    // Only a message with unset required fields fails to serialise, and proto3 has none.
    let content = data.write_to_bytes().unwrap_or_default();
    PluginData { tag, content }
}
