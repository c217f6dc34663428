package inventory

import (
	"errors"
	"fmt"
	"time"
)

func positive[T int | int64 | time.Duration](name string, value T) error {
	if value > 0 {
		return nil
	}
	return fmt.Errorf("%s is %v: allowed is anything above 0", name, value)
}

func (c Config) checkAges() error {
	var order error
	if c.Fresh > c.Revalidate || c.Revalidate > c.StaleMax {
		order = fmt.Errorf("INVENTORY_FRESH (%s), INVENTORY_REVALIDATE (%s) and INVENTORY_STALE_MAX (%s) must not decrease in this order",
			c.Fresh, c.Revalidate, c.StaleMax)
	}
	return errors.Join(
		positive("INVENTORY_FRESH", c.Fresh), positive("INVENTORY_REVALIDATE", c.Revalidate),
		positive("INVENTORY_STALE_MAX", c.StaleMax), positive("INVENTORY_ABSENT_FOR", c.AbsentFor),
		positive("INVENTORY_FAILURE_QUIET", c.FailureQuiet), order,
	)
}

func (c Config) checkLimits() error {
	faults := []error{
		positive("INVENTORY_BUDGET", c.Budget), positive("INVENTORY_ATTEMPT_TIMEOUT", c.AttemptTimeout),
		positive("INVENTORY_STALE_WAIT", c.StaleWait), positive("INVENTORY_RETRY_BASE", c.RetryBase),
		positive("INVENTORY_RETRY_AFTER_MAX", c.RetryAfterMax),
		positive("INVENTORY_BREAKER_OPEN", c.BreakerOpen), positive("INVENTORY_BREAKER_CALLS", c.BreakerCalls),
		positive("INVENTORY_BREAKER_ROW", c.BreakerRow), positive("INVENTORY_CONCURRENCY", c.Concurrency),
		positive("INVENTORY_CHUNK_IDS", c.ChunkIDs),
		positive("INVENTORY_MAX_BODY", c.MaxBody), positive("INVENTORY_CACHE_SIZE", c.CacheSize),
		positive("INVENTORY_SAVE_EVERY", c.SaveEvery), positive("INVENTORY_SAVE_DELAY", c.SaveDelay),
	}
	if c.Retries < 0 || c.Retries > 10 {
		faults = append(faults, fmt.Errorf("INVENTORY_RETRIES is %d: allowed is 0 to 10", c.Retries))
	}
	if c.ChunkBytes < 2*idBytes {
		faults = append(faults, fmt.Errorf("INVENTORY_CHUNK_BYTES is %d: allowed is %d (two variants) and more", c.ChunkBytes, 2*idBytes))
	}
	if c.AttemptTimeout > c.Budget {
		faults = append(faults, fmt.Errorf("INVENTORY_ATTEMPT_TIMEOUT (%s) must not exceed INVENTORY_BUDGET (%s)", c.AttemptTimeout, c.Budget))
	}
	return errors.Join(faults...)
}

func (c Config) checkInit() error {
	faults := []error{
		positive("INVENTORY_INIT_TRIES", c.InitTries), positive("INVENTORY_INIT_TIMEOUT", c.InitTimeout),
		positive("INVENTORY_INIT_BACKOFF", c.InitBackoff), positive("INVENTORY_INIT_BACKOFF_MAX", c.InitBackoffMax),
		positive("INVENTORY_INIT_CONCURRENCY", c.InitConcurrency), positive("INVENTORY_INIT_POLL", c.InitPoll),
	}
	switch c.InitPolicy {
	case PolicyRetry, PolicyRollback, PolicyNotOrderable:
	default:
		faults = append(faults, fmt.Errorf("INVENTORY_INIT_POLICY is %q: allowed are %s, %s and %s",
			c.InitPolicy, PolicyRetry, PolicyRollback, PolicyNotOrderable))
	}
	return errors.Join(faults...)
}

func (c Config) checkWebhook() error {
	if c.WebhookURL == "" {
		return nil
	}
	faults := []error{
		c.checkEndpoint("INVENTORY_WEBHOOK_URL", c.WebhookURL, false, true),
		positive("INVENTORY_WEBHOOK_TIMEOUT", c.WebhookTimeout), positive("INVENTORY_WEBHOOK_TRIES", c.WebhookTries),
		positive("INVENTORY_WEBHOOK_BACKOFF", c.WebhookBackoff), positive("INVENTORY_WEBHOOK_BACKOFF_MAX", c.WebhookBackoffMax),
	}
	if c.WebhookSecret == "" {
		faults = append(faults, errors.New("INVENTORY_WEBHOOK_SECRET is missing: deliveries are signed with it"))
	} else if _, err := webhookKey(c.WebhookSecret); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
