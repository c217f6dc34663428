package inventory

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"product-service/ijson"
)

var (
	// errUndecodable marks a body that isn't what the service promises: it is another server's, or it
	// was damaged on the way.
	errUndecodable = errors.New("undecodable answer")
	// errItem marks a level that can't be read in an answer that can: a fault of its variant alone.
	errItem     = errors.New("unreadable level")
	errTooLarge = errors.New("answer exceeds INVENTORY_MAX_BODY")
)

// item is one level as the service writes it.
type item struct {
	VariantID ijson.String  `json:"productVariantId"`
	Available ijson.Integer `json:"availableQuantity"`
	Status    ijson.String  `json:"status"`
	UpdatedAt ijson.String  `json:"updatedAt"`
}

// id is the variant that the item names, uuid.Nil for none.
func (i item) id() uuid.UUID {
	id, _ := parseID(i.VariantID.Text)
	return id
}

// level checks the item and turns it into a Level without times of ours.
func (i item) level() (Level, error) {
	level := Level{Source: Live}
	var err error
	if level.VariantID, err = idOf(i.VariantID); err != nil {
		return Level{}, fmt.Errorf("productVariantId %w", err)
	}
	if level.Available, err = quantityOf(i.Available); err != nil {
		return Level{}, fmt.Errorf("availableQuantity %w", err)
	}
	if level.Status = Status(i.Status.Text); !level.Status.known() {
		return Level{}, fmt.Errorf("status is %.40q: allowed are IN_STOCK, LOW_STOCK and OUT_OF_STOCK", i.Status.Text)
	}
	if level.UpdatedAt, err = timeOf(i.UpdatedAt); err != nil {
		return Level{}, fmt.Errorf("updatedAt %w", err)
	}
	return level, nil
}

// idOf, quantityOf and timeOf read a member of a level or an event. Their errors follow the member's name.
func idOf(text ijson.String) (uuid.UUID, error) {
	id, ok := parseID(text.Text)
	switch {
	case ok:
		return id, nil
	case !text.Given:
		return uuid.Nil, errors.New("is missing: allowed is a UUID")
	case text.Wrong != "":
		return uuid.Nil, fmt.Errorf("is %s: allowed is a UUID", text.Wrong)
	}
	return uuid.Nil, fmt.Errorf("is %.40q: allowed is a UUID other than the nil UUID", text.Text)
}

// parseID reads a UUID in its canonical form, in either case.
func parseID(text string) (uuid.UUID, bool) {
	if len(text) != 36 {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(text)
	return id, err == nil && id != uuid.Nil
}

// maxQuantity is the greatest quantity that can be shown: the Int of GraphQL has 32 bits.
const maxQuantity = math.MaxInt32

func quantityOf(n ijson.Integer) (int64, error) {
	switch {
	case !n.Given:
		return 0, fmt.Errorf("is missing: allowed is a whole number from 0 to %d", maxQuantity)
	case n.Wrong != "":
		return 0, fmt.Errorf("is %s: allowed is a whole number from 0 to %d", n.Wrong, maxQuantity)
	case n.Value < 0 || n.Value > maxQuantity:
		return 0, fmt.Errorf("is %d: allowed is a whole number from 0 to %d", n.Value, maxQuantity)
	}
	return n.Value, nil
}

func timeOf(text ijson.String) (time.Time, error) {
	switch {
	case !text.Given:
		return time.Time{}, fmt.Errorf("is missing: %s", isoAllowed)
	case text.Wrong != "":
		return time.Time{}, fmt.Errorf("is %s: %s", text.Wrong, isoAllowed)
	}
	at, err := parseTime(text.Text)
	if err != nil {
		return time.Time{}, fmt.Errorf("can't be read: %w", err)
	}
	return at, nil
}

// answer is what one call said about the variants it asked for.
type answer struct {
	levels map[uuid.UUID]Level
	faulty map[uuid.UUID]error // items that name their variant and cannot be read otherwise
	// nameless is set when an item doesn't even name its variant: then a variant that wasn't found may be
	// that one, and its absence is not known.
	nameless error
}

// decodeList reads the body of GET /inventory?productVariantIds=. One bad item spoils its own
// variant only, and a list in which none can be read is an answer too; variants that weren't asked
// for are left out by the caller; of two items for a variant the newer counts.
func decodeList(body []byte) (answer, error) {
	items, err := ijson.Elements(body)
	if err != nil {
		return answer{}, fmt.Errorf("%w: not a list: %w", errUndecodable, err)
	}
	a := answer{levels: make(map[uuid.UUID]Level, len(items))}
	for _, text := range items {
		a.add(text)
	}
	return a, nil
}

func (a *answer) add(text []byte) {
	level, id, err := decodeItem(text)
	switch {
	case err == nil:
		if held, ok := a.levels[id]; !ok || level.UpdatedAt.After(held.UpdatedAt) {
			a.levels[id] = level
		}
	case id == uuid.Nil:
		a.nameless = err
	default:
		if a.faulty == nil {
			a.faulty = map[uuid.UUID]error{}
		}
		a.faulty[id] = err
	}
}

// decodeItem reads one level; when that fails it still returns the variant's id if the item names it. The
// error wraps errItem.
func decodeItem(text []byte) (Level, uuid.UUID, error) {
	var parsed item
	if err := ijson.Unmarshal(text, &parsed); err != nil {
		ijson.Salvage(text, &parsed)
		return Level{}, parsed.id(), fmt.Errorf("%w: %w", errItem, err)
	}
	level, err := parsed.level()
	if err != nil {
		return Level{}, parsed.id(), fmt.Errorf("%w: %w", errItem, err)
	}
	return level, level.VariantID, nil
}

// decodeOne reads the body of GET /inventory/{id}, which must be about that variant. The error wraps
// errItem where the body is an object, and errUndecodable where it is something else altogether.
func decodeOne(body []byte, want uuid.UUID) (Level, error) {
	if !ijson.IsObject(body) {
		return Level{}, fmt.Errorf("%w: not an object", errUndecodable)
	}
	level, id, err := decodeItem(body)
	if err != nil {
		return Level{}, err
	}
	if id != want {
		return Level{}, fmt.Errorf("%w: it is about another variant", errItem)
	}
	return level, nil
}

// decodeCreated reads the answer to a creation. That it names the variant is what tells the service from
// a gateway that answers for it; a record whose level cannot be read is made all the same, and has a zero
// Level here.
func decodeCreated(body []byte, want uuid.UUID) (Level, error) {
	level, id, err := decodeItem(body)
	if id != want {
		return Level{}, fmt.Errorf("%w: it is not the record of this variant", errUndecodable)
	}
	if err != nil {
		return Level{}, nil
	}
	return level, nil
}
