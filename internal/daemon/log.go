package daemon

import (
	"slices"

	"github.com/go-logr/logr"
)

// highestLevel is the highest level that is logged, whatever --zap-log-level says. From the next one on, client-go logs
// the bodies of requests and responses, such as Secrets and TokenReviews, to the logger of the request's context.
const highestLevel = 7

// lazily returns a logger that encodes the values of WithValues only when a line is logged. Zap encodes them at once,
// into a kilobyte each time, and controller-runtime makes a logger for every reconciliation, few of which log anything.
func lazily(log logr.Logger) logr.Logger {
	// The lazy sink is one more call between the caller and zap.
	return logr.New(lazySink{sink: log.WithCallDepth(1).GetSink()})
}

// lazySink is a logr.LogSink that keeps its values as they are. It is immutable.
type lazySink struct {
	sink   logr.LogSink
	values []any
}

// Init implements logr.LogSink. The underlying sink is initialized already.
func (lazySink) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink. Nothing is logged above highestLevel.
func (s lazySink) Enabled(level int) bool { return level <= highestLevel && s.sink.Enabled(level) }

// Info implements logr.LogSink.
func (s lazySink) Info(level int, message string, values ...any) {
	s.sink.Info(level, message, s.with(values)...)
}

// Error implements logr.LogSink.
func (s lazySink) Error(err error, message string, values ...any) {
	s.sink.Error(err, message, s.with(values)...)
}

// WithValues implements logr.LogSink.
func (s lazySink) WithValues(values ...any) logr.LogSink {
	s.values = s.with(values)
	return s
}

// WithName implements logr.LogSink.
func (s lazySink) WithName(name string) logr.LogSink {
	s.sink = s.sink.WithName(name)
	return s
}

// WithCallDepth implements logr.CallDepthLogSink.
func (s lazySink) WithCallDepth(depth int) logr.LogSink {
	if deep, ok := s.sink.(logr.CallDepthLogSink); ok {
		s.sink = deep.WithCallDepth(depth)
	}
	return s
}

func (s lazySink) with(values []any) []any { return slices.Concat(s.values, values) }
