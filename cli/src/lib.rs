//! The inhaul command, also kubectl inhaul.
