//! The types of markers: host calls, runs of labels, and how a thread was sampled.

use fxprof_processed_profile::{
    CategoryHandle, MarkerFieldFlags, MarkerFieldFormat, MarkerLocations, Profile,
    StaticSchemaMarker, StaticSchemaMarkerField, StringHandle,
};

/// A call of a host function, or anything else that began and ended.
pub(super) struct HostCall {
    pub(super) name: StringHandle,
    pub(super) category: CategoryHandle,
    pub(super) text: StringHandle,
}

impl StaticSchemaMarker for HostCall {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "HostCall";
    const DESCRIPTION: Option<&'static str> = Some("A call from the guest into the host.");
    const LOCATIONS: MarkerLocations = MarkerLocations::MARKER_CHART
        .union(MarkerLocations::MARKER_TABLE)
        .union(MarkerLocations::TIMELINE_OVERVIEW);
    const CHART_LABEL: Option<&'static str> = Some("{marker.name}");
    const TABLE_LABEL: Option<&'static str> = Some("{marker.name} {marker.data.text}");
    const FIELDS: &'static [StaticSchemaMarkerField] = &[StaticSchemaMarkerField {
        key: "text",
        label: "Details",
        format: MarkerFieldFormat::String,
        flags: MarkerFieldFlags::SEARCHABLE,
    }];

    fn name(&self, _: &mut Profile) -> StringHandle {
        self.name
    }

    fn category(&self, _: &mut Profile) -> CategoryHandle {
        self.category
    }

    fn string_field_value(&self, _: u32) -> StringHandle {
        self.text
    }

    fn number_field_value(&self, _: u32) -> f64 {
        unreachable!("the type has no number")
    }
}

/// A run of samples with the same labels.
pub(super) struct Labels {
    pub(super) name: StringHandle,
    pub(super) labels: StringHandle,
}

impl StaticSchemaMarker for Labels {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "Labels";
    const DESCRIPTION: Option<&'static str> =
        Some("For whom the thread worked: the labels of consecutive samples.");
    const CHART_LABEL: Option<&'static str> = Some("{marker.data.labels}");
    const TABLE_LABEL: Option<&'static str> = Some("{marker.data.labels}");
    const FIELDS: &'static [StaticSchemaMarkerField] = &[StaticSchemaMarkerField {
        key: "labels",
        label: "Labels",
        format: MarkerFieldFormat::String,
        flags: MarkerFieldFlags::SEARCHABLE,
    }];

    fn name(&self, _: &mut Profile) -> StringHandle {
        self.name
    }

    fn category(&self, _: &mut Profile) -> CategoryHandle {
        CategoryHandle::OTHER
    }

    fn string_field_value(&self, _: u32) -> StringHandle {
        self.labels
    }

    fn number_field_value(&self, _: u32) -> f64 {
        unreachable!("the type has no number")
    }
}

/// What became of a thread's samples.
pub(super) struct Sampling {
    pub(super) name: StringHandle,
    pub(super) due: u64,
    pub(super) kept: u64,
    pub(super) lost: u64,
    pub(super) sampled_ms: f64,
}

impl StaticSchemaMarker for Sampling {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "Sampling";
    const DESCRIPTION: Option<&'static str> =
        Some("How many samples of the thread were due, are here, and are not.");
    const LOCATIONS: MarkerLocations = MarkerLocations::MARKER_TABLE;
    const TABLE_LABEL: Option<&'static str> = Some(
        "{marker.data.kept} of {marker.data.due} samples kept, {marker.data.lost} lost, in {marker.data.sampled}",
    );
    const FIELDS: &'static [StaticSchemaMarkerField] = &[
        StaticSchemaMarkerField {
            key: "due",
            label: "Samples due",
            format: MarkerFieldFormat::Integer,
            flags: MarkerFieldFlags::empty(),
        },
        StaticSchemaMarkerField {
            key: "kept",
            label: "Samples kept",
            format: MarkerFieldFormat::Integer,
            flags: MarkerFieldFlags::empty(),
        },
        StaticSchemaMarkerField {
            key: "lost",
            label: "Samples lost",
            format: MarkerFieldFormat::Integer,
            flags: MarkerFieldFlags::empty(),
        },
        StaticSchemaMarkerField {
            key: "sampled",
            label: "Time sampled",
            format: MarkerFieldFormat::Duration,
            flags: MarkerFieldFlags::empty(),
        },
    ];

    fn name(&self, _: &mut Profile) -> StringHandle {
        self.name
    }

    fn category(&self, _: &mut Profile) -> CategoryHandle {
        CategoryHandle::OTHER
    }

    fn string_field_value(&self, _: u32) -> StringHandle {
        unreachable!("the type has no text")
    }

    fn number_field_value(&self, field: u32) -> f64 {
        match field {
            0 => self.due as f64,
            1 => self.kept as f64,
            2 => self.lost as f64,
            _ => self.sampled_ms,
        }
    }
}
