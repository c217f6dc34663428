package inventory

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"
)

// Record is what the Inventory Service is asked to create for a new variant.
type Record struct {
	VariantID         uuid.UUID `json:"productVariantId"`
	InitialQuantity   int64     `json:"initialQuantity"`
	LowStockThreshold int64     `json:"lowStockThreshold"`
}

// idempotencySpace is the namespace of the keys below; changing it would make repeated creations new ones.
var idempotencySpace = uuid.MustParse("6f0d7c2e-52c1-5a0e-9b0e-3f4f0f3d7a11")

// IdempotencyKey is the key of the record's creation, the same for ever and from every instance. It
// follows from all that is asked for: a variant that was taken back may come again with another
// quantity, which under the old key the service would have to refuse.
func IdempotencyKey(record Record) string {
	return uuid.NewSHA1(idempotencySpace, fmt.Appendf(nil, "%s %d %d", record.VariantID, record.InitialQuantity, record.LowStockThreshold)).String()
}

// create asks the service once to create the record and returns the level it answered with: that
// one exists already is success, with a zero Level. The Idempotency-Key makes repeating it safe,
// which is left to the caller (see Initializer). Errors: ErrRefused when repeating is pointless
// until somebody changes something, else ErrUnavailable.
func (c *Client) create(ctx context.Context, record Record) (Level, error) {
	if err := c.held(); err != nil {
		return Level{}, fmt.Errorf("create the inventory record: %w: %w", ErrUnavailable, err)
	}
	var level Level
	k := &call{op: "create", ids: 1, timeout: c.cfg.InitTimeout, breaker: c.writes}
	k.decode = func(resp *http.Response, body []byte) (err error) {
		if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated {
			level, err = decodeCreated(body, record.VariantID)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.InitTimeout)
	defer cancel()
	header := http.Header{"Idempotency-Key": {IdempotencyKey(record)}}
	status, err := c.do(ctx, k, http.MethodPost, c.base, record, header)
	switch {
	case err == nil && (status == http.StatusOK || status == http.StatusCreated || status == http.StatusConflict):
		if level.Status != "" {
			level.FetchedAt = c.cfg.clock()()
		}
		return level, nil
	case err == nil:
		err = statusError{status}
	}
	if errors.Is(err, ErrRefused) || errors.Is(err, errRedirect) {
		return Level{}, fmt.Errorf("create the inventory record: %w: %w", ErrRefused, err)
	}
	return Level{}, fmt.Errorf("create the inventory record: %w: %w", ErrUnavailable, err)
}
