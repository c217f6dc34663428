package graph

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"product-service/projection/read"
)

// Buckets, which write themselves, show what is selected: under its alias, once, in order, through
// fragments, and as directives have it.
func TestBucketsShowWhatIsSelected(t *testing.T) {
	bucket := read.Bucket{Start: noon, End: noon.Add(time.Hour), Opening: 1, Closing: -2, Min: -3, Max: 4, ReservedQuantity: 5, ReleasedQuantity: 6, ExpiredQuantity: 9, AdjustedQuantity: -7,
		RefusedQuantity: 10, Refusals: 11, OutOfStockSeconds: 12, Movements: 8}
	h := newTestHandler(t, &fakes{timeline: func(uuid.UUID, time.Time, time.Time, read.Interval) ([]read.Bucket, error) {
		return []read.Bucket{bucket, bucket}, nil
	}})
	got := post(t, h, `query($no:Boolean!){stockTimeline(productId:"`+idA+`",from:"2026-01-01T00:00:00Z",to:"2026-01-02T00:00:00Z",interval:HOUR){
		movements ...All begin:start movements closing @include(if:$no) ...on StockBucket{opening __typename}}}
		fragment All on StockBucket{start end opening adjustedQuantity closing @skip(if:$no) minAvailable maxAvailable reservedQuantity releasedQuantity
			expiredQuantity refusedQuantity refusals outOfStockSeconds}`, `{"no":false}`)
	want := `{"movements":8,"start":"2026-02-28T12:00:00Z","end":"2026-02-28T13:00:00Z","opening":1,"adjustedQuantity":-7,"closing":-2,"minAvailable":-3,"maxAvailable":4,` +
		`"reservedQuantity":5,"releasedQuantity":6,"expiredQuantity":9,"refusedQuantity":10,"refusals":11,"outOfStockSeconds":12,"begin":"2026-02-28T12:00:00Z","__typename":"StockBucket"}`
	if !json.Valid([]byte(got.body)) || !strings.Contains(got.body, `{"stockTimeline":[`+want+`,`+want+`]}`) {
		t.Error(cmp.Diff(`{"data":{"stockTimeline":[`+want+`,`+want+`]}}`, got.body))
	}
}
