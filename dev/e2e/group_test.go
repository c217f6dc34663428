package e2e

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// consumed is nil once the group has committed everything that the input topics hold.
func (w *world) consumed() error {
	s := w.sagas()
	newest, err := s.newest(requests, releases, "inventory.events")
	if err != nil {
		return err
	}
	asked := map[string][]int32{}
	for topic, partitions := range newest {
		asked[w.prefix+topic] = slices.Collect(maps.Keys(partitions))
	}
	committed, err := s.admin.ListConsumerGroupOffsets(w.group(), asked)
	if err != nil {
		return err
	}
	for topic, partitions := range newest {
		for p, offset := range partitions {
			if block := committed.GetBlock(w.prefix+topic, p); offset > 0 && (block == nil || block.Offset < offset) {
				return fmt.Errorf("%s is not committed up to %d: %+v", place(topic, p), offset, block)
			}
		}
	}
	return nil
}

// evict takes every member out of the consumer group, as the broker does by itself with those it
// hasn't heard of for seven seconds: for tests that kill the only instance many times.
func (w *world) evict() {
	w.t.Helper()
	err := passes(20*time.Second, func() error {
		coordinator, err := w.coordinator()
		if err != nil {
			return err
		}
		groups, err := coordinator.DescribeGroups(&sarama.DescribeGroupsRequest{Groups: []string{w.group()}})
		if err != nil || len(groups.Groups) == 0 {
			return errors.Join(err, errors.New("no answer"))
		}
		left := &sarama.LeaveGroupRequest{Version: 3, GroupId: w.group()}
		for id := range groups.Groups[0].Members {
			left.Members = append(left.Members, sarama.MemberIdentity{MemberId: id})
		}
		if len(left.Members) == 0 {
			return nil
		}
		answer, err := coordinator.LeaveGroup(left)
		if err == nil && answer.Err != sarama.ErrNoError {
			err = answer.Err
		}
		return err
	})
	if err != nil {
		w.t.Fatalf("evict the dead member: %v", err)
	}
}

func (w *world) coordinator() (*sarama.Broker, error) {
	client := w.sagas().client
	if err := client.RefreshCoordinator(w.group()); err != nil {
		return nil, err
	}
	return client.Coordinator(w.group())
}
