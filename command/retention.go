package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// longestRetention is the longest that ids can be remembered for; a topic that keeps its messages longer keeps them for ever.
const longestRetention = 3650 * 24 * time.Hour

// Remembered returns the configuration with the retention that counts: INBOX_RETENTION, or that of the input topic that keeps its messages
// longest, if that is longer. Otherwise messages that wait in that topic would be refused as too old. It warns where it lengthens, so
// that a topic changed by somebody doesn't keep the service from starting; it fails for a topic that keeps its messages for ever,
// because ids can't be remembered so long. Where Kafka doesn't let the topics' configuration be read, INBOX_RETENTION stands.
func Remembered(ctx context.Context, c Config, log *slog.Logger) (Config, error) {
	_, admin, err := c.administer()
	if err != nil {
		return c, err
	}
	defer func() { _ = admin.Close() }()
	resources := make([]*sarama.ConfigResource, 0, len(c.inputs()))
	for _, topic := range c.inputs() {
		resources = append(resources, &sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms", "cleanup.policy"}})
	}
	topics, err := admin.DescribeConfigs(resources, sarama.DescribeConfigsOptions{})
	if err != nil {
		return c, fmt.Errorf("read the retention of the topics: %w", err)
	}
	var faults []error
	longest := c.Retention
	for _, t := range topics {
		kept, err := retentionOf(t)
		switch {
		case errors.Is(err, errUnread):
			log.WarnContext(ctx, "the retention of a topic can't be read; make sure that INBOX_RETENTION isn't shorter", "topic", t.Name,
				"inbox_retention", c.Retention, "error", err)
		case err != nil:
			faults = append(faults, err)
		case kept > time.Duration(c.Retention):
			log.WarnContext(ctx, "a topic keeps its messages longer than INBOX_RETENTION, so ids are remembered that long too; set its retention.ms lower, or INBOX_RETENTION higher",
				"topic", t.Name, "retention", kept, "inbox_retention", c.Retention)
			longest = max(longest, Duration(kept))
		}
	}
	c.Retention = longest
	return c, errors.Join(faults...)
}

var errUnread = errors.New("it could not be read")

// retentionOf says how long a topic keeps its messages. A topic that is compacted only keeps the last of each key for ever.
func retentionOf(t *sarama.ConfigResourceResult) (time.Duration, error) {
	if t.ErrorCode != 0 {
		return 0, fmt.Errorf("%w: %w", errUnread, t.ErrorCode)
	}
	values := map[string]string{}
	for _, entry := range t.Configs {
		values[entry.Name] = entry.Value
	}
	ms, err := strconv.ParseInt(values["retention.ms"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: retention.ms is %q", errUnread, values["retention.ms"])
	}
	policy := values["cleanup.policy"]
	if ms < 0 || ms > longestRetention.Milliseconds() || (policy != "" && !strings.Contains(policy, "delete")) {
		return 0, fmt.Errorf("topic %s keeps its messages for ever (retention.ms=%d, cleanup.policy=%s), but the ids of commands can't be remembered for ever: "+
			"set its retention.ms to INBOX_RETENTION at most, and its cleanup.policy to delete", t.Name, ms, policy)
	}
	return time.Duration(ms) * time.Millisecond, nil
}
