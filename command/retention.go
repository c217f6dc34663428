package command

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// longestRetention is the longest that ids can be remembered for; a topic that keeps its messages
// longer keeps them for ever.
const longestRetention = 3650 * 24 * time.Hour

// Remembered returns the configuration with the retention that counts: INBOX_RETENTION, or that of
// the input topic that keeps its messages longest, if that is longer. Otherwise messages that wait
// in that topic would be refused as too old. It warns where it lengthens, and where it can't: ids
// can't be remembered as long as a topic that keeps its messages for ever does, nor as one whose
// configuration can't be read. A topic changed by somebody never keeps the service from starting:
// what is too old is refused, not executed again.
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
	longest := c.Retention
	for _, t := range topics {
		kept, err := retentionOf(t)
		switch {
		case err != nil:
			log.WarnContext(ctx, "ids may be forgotten before the messages of a topic are; make sure that its retention.ms isn't longer than INBOX_RETENTION", "topic", t.Name,
				"inbox_retention", c.Retention, "error", err)
		case kept > time.Duration(c.Retention):
			log.WarnContext(ctx, "a topic keeps its messages longer than INBOX_RETENTION, so ids are remembered that long too; set its retention.ms lower, or INBOX_RETENTION higher",
				"topic", t.Name, "retention", kept, "inbox_retention", c.Retention)
			longest = max(longest, Duration(kept))
		}
	}
	c.Retention = longest
	return c, nil
}

// retentionOf says how long a topic keeps its messages. A topic that is compacted only keeps the
// last of each key for ever.
func retentionOf(t *sarama.ConfigResourceResult) (time.Duration, error) {
	if t.ErrorCode != 0 {
		return 0, fmt.Errorf("read its configuration: %w", t.ErrorCode)
	}
	values := map[string]string{}
	for _, entry := range t.Configs {
		values[entry.Name] = entry.Value
	}
	ms, err := strconv.ParseInt(values["retention.ms"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("its retention.ms is %q", values["retention.ms"])
	}
	policy := values["cleanup.policy"]
	if ms < 0 || ms > longestRetention.Milliseconds() || (policy != "" && !strings.Contains(policy, "delete")) {
		return 0, fmt.Errorf("it keeps its messages for ever: retention.ms is %d, cleanup.policy is %q", ms, policy)
	}
	return time.Duration(ms) * time.Millisecond, nil
}
