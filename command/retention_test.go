package command

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

func setTopic(t *testing.T, c Config, topic, name, value string) {
	t.Helper()
	admin := adminOf(t, c)
	defer func() { _ = admin.Close() }()
	if err := admin.IncrementalAlterConfig(sarama.TopicResource, c.topic(topic), map[string]sarama.IncrementalAlterConfigsEntry{
		name: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false); err != nil {
		t.Fatal(err)
	}
}

func TestIDsAreRememberedAsLongAsTheTopicsKeepTheirMessages(t *testing.T) {
	c := kafkaConfig(t)
	c.Retention = Duration(720 * time.Hour)
	remembered := func() (Duration, string) {
		t.Helper()
		var said bytes.Buffer
		got, err := Remembered(t.Context(), c, slog.New(slog.NewTextHandler(&said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		return got.Retention, said.String()
	}
	if got, said := remembered(); got != c.Retention || said != "" {
		t.Errorf("with topics made for it: %s, %q", got, said)
	}
	c.Retention = Duration(24 * time.Hour) // shorter than when the topics were made
	if got, said := remembered(); got != Duration(720*time.Hour) || strings.Count(said, "WARN") != 3 || !strings.Contains(said, c.topic(TopicReleaseStock)) {
		t.Errorf("with topics that keep longer: %s, %q", got, said)
	}
	setTopic(t, c, TopicReleaseStock, "retention.ms", "3600000000")
	if got, _ := remembered(); got != Duration(1000*time.Hour) {
		t.Errorf("it isn't the longest: %s", got)
	}
}

func TestAnInputThatIsKeptForEverIsWarnedOf(t *testing.T) {
	c := kafkaConfig(t)
	c.Retention = Duration(720 * time.Hour)
	setTopic(t, c, TopicRequestStock, "retention.ms", "-1")
	setTopic(t, c, TopicInventoryEvents, "cleanup.policy", "compact")
	var said bytes.Buffer
	got, err := Remembered(t.Context(), c, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil || got.Retention != c.Retention {
		t.Errorf("ids are remembered for %s: %v", got.Retention, err)
	}
	for _, topic := range []string{TopicRequestStock, TopicInventoryEvents} {
		if !strings.Contains(said.String(), "topic="+c.topic(topic)) {
			t.Errorf("it warns of %s only", said.String())
		}
	}
	if n := strings.Count(said.String(), "for ever"); n != 2 {
		t.Errorf("it warns %d times: %s", n, said.String())
	}
}
