package graph

import (
	"context"

	"github.com/google/uuid"

	"product-service/graph/model"
	"product-service/projection/read"
)

const (
	defaultPage = 20
	maxPage     = read.MaxNodes
)

// pageArgs are the arguments of a Relay connection.
type pageArgs struct {
	first  *int64
	after  *string
	last   *int64
	before *string
}

// check says what is wrong with them, or what they ask for, of a connection of a type.
func (a pageArgs) check(ctx context.Context, connection string) (read.Range, error) {
	p := read.Range{Count: selects(ctx, connection, "totalCount")}
	if a.first != nil && a.last != nil {
		return p, badInput("first and last are both given; give one of them")
	}
	for _, n := range []struct {
		name  string
		value *int64
		to    *int
	}{{"first", a.first, &p.First}, {"last", a.last, &p.Last}} {
		if n.value == nil {
			continue
		}
		if *n.value < 1 || *n.value > maxPage {
			return p, badInput("%s is %d; it must be 1 to %d", n.name, *n.value, maxPage)
		}
		*n.to = int(*n.value)
	}
	if a.first == nil && a.last == nil {
		p.First = defaultPage
	}
	for _, c := range []struct {
		name  string
		value *string
		to    *string
	}{{"after", a.after, &p.After}, {"before", a.before, &p.Before}} {
		if c.value == nil {
			continue
		}
		if *c.value == "" {
			return p, badInput("%s is empty; it must be a cursor of this list, or absent", c.name)
		}
		*c.to = *c.value
	}
	return p, nil
}

// parseIDs reads a list of ids.
func parseIDs(name string, texts []string) ([]uuid.UUID, error) {
	if len(texts) > read.MaxIDs {
		return nil, badInput("%s has %d ids; it can have %d", name, len(texts), read.MaxIDs)
	}
	ids := make([]uuid.UUID, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = parseID(text); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// parseID reads a UUID in its usual form, in upper or lower case.
func parseID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len("00000000-0000-0000-0000-000000000000") || id == uuid.Nil {
		return uuid.Nil, badInput("%q is not an id; it must be a UUID, such as 0190f3a4-5b6c-7d8e-9f00-112233445566", model.Abbreviate(text))
	}
	return id, nil
}
