package stack

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const defaultPartitions = 8

// KafkaBroker is a broker in this process that speaks Kafka's protocol, with consumer groups.
type KafkaBroker struct {
	cluster *kfake.Cluster
	stop    context.CancelFunc
}

// StartKafka starts a broker on loopback: on the port given, or on a free one. With a dir, topics,
// records and committed offsets live there and survive a restart; without, in memory.
func StartKafka(dir string, port ...int) (*KafkaBroker, error) {
	options := []kfake.Opt{kfake.NumBrokers(1), kfake.DefaultNumPartitions(defaultPartitions), kfake.AllowAutoTopicCreation()}
	if dir != "" {
		options = append(options, kfake.DataDir(dir))
	}
	if len(port) > 0 {
		options = append(options, kfake.Ports(port[0]))
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return nil, fmt.Errorf("start the Kafka broker: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	if err := watchMembers(ctx, cluster); err != nil {
		stop()
		cluster.Close()
		return nil, fmt.Errorf("start the Kafka broker: %w", err)
	}
	b := &KafkaBroker{cluster: cluster, stop: stop}
	cluster.ControlKey(int16(kmsg.OffsetFetch), b.fetchOffsetsOfUnknownGroup)
	return b, nil
}

// fetchOffsetsOfUnknownGroup answers as Apache Kafka does: a group that nobody has heard of has
// committed nothing (-1). kfake answers GROUP_ID_NOT_FOUND, which a client takes for a failure.
func (b *KafkaBroker) fetchOffsetsOfUnknownGroup(request kmsg.Request) (kmsg.Response, error, bool) {
	b.cluster.KeepControl()
	req, ok := request.(*kmsg.OffsetFetchRequest)
	if !ok {
		return nil, nil, false
	}
	groups := req.Groups
	if req.Version < 8 { // one group, at the top level
		one := kmsg.NewOffsetFetchRequestGroup()
		one.Group = req.Group
		for _, t := range req.Topics {
			topic := kmsg.NewOffsetFetchRequestGroupTopic()
			topic.Topic, topic.Partitions = t.Topic, t.Partitions
			one.Topics = append(one.Topics, topic)
		}
		groups = []kmsg.OffsetFetchRequestGroup{one}
	}
	for _, g := range groups {
		if b.cluster.GroupInfo(g.Group) != nil {
			return nil, nil, false // at least one is known: the broker answers (clients ask for one group at a time)
		}
	}
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.SetVersion(req.Version)
	for _, g := range groups {
		resp.Groups = append(resp.Groups, nothingCommitted(g))
	}
	if req.Version < 8 {
		resp.Topics = ungrouped(resp.Groups[0])
		resp.Groups = nil
	}
	return resp, nil, true
}

func nothingCommitted(g kmsg.OffsetFetchRequestGroup) kmsg.OffsetFetchResponseGroup {
	group := kmsg.NewOffsetFetchResponseGroup()
	group.Group = g.Group
	for _, t := range g.Topics {
		topic := kmsg.NewOffsetFetchResponseGroupTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			partition := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			partition.Partition, partition.Offset, partition.LeaderEpoch = p, -1, -1
			topic.Partitions = append(topic.Partitions, partition)
		}
		group.Topics = append(group.Topics, topic)
	}
	return group
}

func ungrouped(g kmsg.OffsetFetchResponseGroup) []kmsg.OffsetFetchResponseTopic {
	var topics []kmsg.OffsetFetchResponseTopic
	for _, t := range g.Topics {
		topic := kmsg.NewOffsetFetchResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			partition := kmsg.NewOffsetFetchResponseTopicPartition()
			partition.Partition, partition.Offset, partition.LeaderEpoch = p.Partition, p.Offset, p.LeaderEpoch
			topic.Partitions = append(topic.Partitions, partition)
		}
		topics = append(topics, topic)
	}
	return topics
}

// Brokers is the bootstrap list.
func (b *KafkaBroker) Brokers() []string { return b.cluster.ListenAddrs() }

// Close stops the broker; what it keeps in a directory is complete then.
func (b *KafkaBroker) Close() {
	b.stop()
	b.cluster.Close()
}
