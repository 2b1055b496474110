//! The taxonomies of the default schema, and the tables that hold them.
//!
//! Decides: their names. Never does: map another schema (see `store::mapping`).

/// A taxonomy of the default schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::store) enum Kind {
    /// Continents, countries, regions.
    Region,
    /// Processing families and methods.
    Processing,
    /// Roast levels.
    Roast,
    /// Varieties.
    Variety,
    /// The flavour wheel.
    Wheel,
}

impl Kind {
    /// Every kind.
    pub(in crate::store) const ALL: [Self; 5] =
        [Self::Region, Self::Processing, Self::Roast, Self::Variety, Self::Wheel];

    /// The dimension's name.
    pub(in crate::store) fn dimension(self) -> &'static str {
        match self {
            Self::Region => "regions",
            Self::Processing => "processing",
            Self::Roast => "roast",
            Self::Variety => "varieties",
            Self::Wheel => "notes",
        }
    }

    /// Its table.
    pub(in crate::store) fn table(self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::Processing => "processing_method",
            Self::Roast => "roast_level",
            Self::Variety => "variety",
            Self::Wheel => "flavor_wheel_node",
        }
    }

    /// The table that joins beans to it.
    pub(in crate::store) fn join_table(self) -> &'static str {
        match self {
            Self::Region => "coffee_bean_region",
            Self::Processing => "coffee_bean_processing_method",
            Self::Roast => "coffee_bean_roast_level",
            Self::Variety => "coffee_bean_variety",
            Self::Wheel => "coffee_bean_flavor_wheel_node",
        }
    }

    /// The column of the value in the join table.
    pub(in crate::store) fn join_column(self) -> &'static str {
        match self {
            Self::Region => "region_id",
            Self::Processing => "processing_method_id",
            Self::Roast => "roast_level_id",
            Self::Variety => "variety_id",
            Self::Wheel => "flavor_wheel_node_id",
        }
    }

    /// Whether the table has a parent column.
    pub(in crate::store) fn is_tree(self) -> bool {
        matches!(self, Self::Region | Self::Processing | Self::Wheel)
    }
}
