package initramfs

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// longStep is how long a step may take before the user is told of it.
const longStep = 2 * time.Second

// progress tells of a step if it takes long: once when it has lasted two
// seconds, and once, by the returned function, when it is over.
func progress(ctx context.Context, log *slog.Logger, what string, attrs ...any) (done func()) {
	start := time.Now()
	timer := time.AfterFunc(longStep, func() { log.InfoContext(ctx, what+" ...", attrs...) })
	return func() {
		if !timer.Stop() {
			took := slog.Duration("took", time.Since(start).Round(100*time.Millisecond))
			log.InfoContext(ctx, what+": done", append(slices.Clip(attrs), took)...)
		}
	}
}

// orDiscard makes a nil logger usable.
func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
