//! Tests of the planner as a whole: tables of situations, and properties against a naive second implementation.

mod build;
mod defrag;
mod devices;
mod fast;
mod finish;
mod give_way;
mod idle;
mod kept;
mod laws;
mod limits;
mod optimum;
mod oracle;
mod properties;
mod situations;
mod swap;
mod time;
mod together;
mod tree;
mod wake;
mod world;
