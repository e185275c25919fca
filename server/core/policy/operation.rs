//! The operations that rules of the policy allow or deny.

/// An operation that rules allow or deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// To see the reader. Without it, no other operation has any effect.
    See,
    /// To watch the reader's state and card.
    Watch,
    /// To run units with Transmit.
    Transmit,
    /// To open sessions and run commands in them.
    Session,
    /// To ask for a reset of the card.
    Reset,
    /// To leave the card as it is at the end of a session.
    Leave,
    /// To share the card's security state with callers that send the same group key.
    SharedGroup,
    /// To send a PIN although the card has already refused it.
    GuardOverride,
    /// To see the reader's holder, waiters, incidents and counters; in a rule for all readers also the broker's state.
    Diagnose,
    /// To trace the reader's turns and commands, without data.
    Trace,
    /// To see the data of harmless commands in a trace.
    TraceData,
    /// To end the turn of another caller.
    Release,
    /// To read the metrics of the reader; in a rule for all readers also those of the broker.
    Metrics,
    /// To change the log's filter for a time.
    Configure,
}

impl Operation {
    /// All operations, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::See,
        Self::Watch,
        Self::Transmit,
        Self::Session,
        Self::Reset,
        Self::Leave,
        Self::SharedGroup,
        Self::GuardOverride,
        Self::Diagnose,
        Self::Trace,
        Self::TraceData,
        Self::Release,
        Self::Metrics,
        Self::Configure,
    ];

    /// Whether it is for operators. A rule that allows must name it: `all` does not include it there.
    pub fn is_for_operators(self) -> bool {
        matches!(self, Self::Diagnose | Self::Trace | Self::TraceData | Self::Release | Self::Metrics | Self::Configure)
    }

    /// Whether rules may restrict the operation to some commands.
    pub fn concerns_commands(self) -> bool {
        matches!(self, Self::Transmit | Self::Session | Self::GuardOverride)
    }

    /// The name of the operation in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::Watch => "watch",
            Self::Transmit => "transmit",
            Self::Session => "session",
            Self::Reset => "reset",
            Self::Leave => "leave",
            Self::SharedGroup => "shared_group",
            Self::GuardOverride => "guard_override",
            Self::Diagnose => "diagnose",
            Self::Trace => "trace",
            Self::TraceData => "trace_data",
            Self::Release => "release",
            Self::Metrics => "metrics",
            Self::Configure => "configure",
        }
    }
}
