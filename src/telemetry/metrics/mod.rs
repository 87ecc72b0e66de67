//! Counters, durations, and the page that Prometheus reads.
//!
//! Nothing is registered anywhere: whoever counts owns its [`Counter`]s and [`Durations`], and
//! whoever writes the [`Page`] asks them. So two members in one process do not share numbers, most
//! gauges are not kept at all but read off the member when somebody looks, and an event costs one
//! relaxed addition: no lock, no lookup, no allocation. (The libraries for this keep a registry that
//! values must be pushed into, or wrapped as collectors; with every value already at hand, writing
//! the format down takes less than either.)

mod counter;
mod durations;
mod level;
mod page;
mod traffic;

pub use counter::Counter;
pub use durations::{Buckets, Durations};
pub use level::{Level, Raised};
pub use page::{Kind, Page};
pub use traffic::{ConnectionTraffic, Traffic};
