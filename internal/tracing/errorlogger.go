package tracing

import (
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// errorLogger logs OpenTelemetry's errors, at most once every logEvery.
type errorLogger struct {
	log  logr.Logger
	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (l *errorLogger) Handle(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.last) > logEvery {
		l.last = now
		l.log.Error(err, "Can't send traces: spans are lost")
	}
}
