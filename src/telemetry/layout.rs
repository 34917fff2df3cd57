//! The first page of TensorBoard's Custom Scalars: charts of several curves each, under headings.
//!
//! The messages are those of TensorBoard's `plugins/custom_scalar/layout.proto`.

use prost::Message;

/// Charts under headings.
#[derive(Clone, PartialEq, Message)]
pub struct Layout {
    #[prost(int32, tag = "1")]
    version: i32,
    #[prost(message, repeated, tag = "2")]
    categories: Vec<Category>,
}

#[derive(Clone, PartialEq, Message)]
struct Category {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(message, repeated, tag = "2")]
    charts: Vec<Chart>,
    #[prost(bool, tag = "3")]
    closed: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Chart {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(message, optional, tag = "2")]
    curves: Option<Curves>,
}

#[derive(Clone, PartialEq, Message)]
struct Curves {
    /// Regular expressions of tags.
    #[prost(string, repeated, tag = "1")]
    tags: Vec<String>,
}

impl Layout {
    /// Adds a heading, open or folded, over charts: a title and regular expressions of tags each.
    pub fn heading(&mut self, title: &str, open: bool, charts: &[(&str, &str)]) {
        let chart = |(title, tags): &(&str, &str)| Chart {
            title: (*title).to_owned(),
            curves: Some(Curves {
                tags: vec![(*tags).to_owned()],
            }),
        };
        self.categories.push(Category {
            title: title.to_owned(),
            charts: charts.iter().map(chart).collect(),
            closed: !open,
        });
    }

    /// As the event file holds it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}
