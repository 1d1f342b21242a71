//! Of the simulation, its random numbers.

#[path = "../../tests/src/slots/trace.rs"]
pub mod trace;
