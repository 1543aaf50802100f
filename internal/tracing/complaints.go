package tracing

import (
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// complaints logs what goes wrong with spans, now and then.
type complaints struct {
	log  logr.Logger
	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.last) > complaintEvery {
		c.last = now
		c.log.Error(err, "Can't send traces: spans are lost")
	}
}
