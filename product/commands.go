package product

import (
	"time"

	"github.com/google/uuid"
)

// Command is something asked of one product. The set is closed: every type is in this file, and has
// its rule in decide.go, or in catalogue.go where it is about what is shown and sold. What must be
// unique among products is in unique.go.
type Command interface{ decide(State) Decision }

// The commands of a booking saga, and of the service itself when a hold expires. None of them
// fails: whatever they find is answered with an event.
type (
	// Reserve asks for units. Its refusal is a ReservationFailed.
	Reserve struct {
		ReservationID uuid.UUID
		SagaID        string
		Quantity      int64
		ExpiresAt     time.Time // zero: the hold never expires
	}

	// Release frees units of a reservation: Quantity of them, or all that are held where it is 0.
	Release struct {
		ReservationID uuid.UUID
		SagaID        string
		Quantity      int64
		Reason        string
	}

	// Expire frees what a reservation holds, if it is past its expiry.
	Expire struct{ ReservationID uuid.UUID }

	// Refuse answers a message that names a product and a reservation but isn't a command.
	Refuse struct {
		ReservationID uuid.UUID
		SagaID        string
		Quantity      int64
		Fingerprint   string // of the content, where the command id was spent on another
	}
)

// The commands of people and of the catalogue. They are refused by a [Refusal], and a refused one
// leaves nothing behind.
type (
	// Create begins a product with its variants.
	Create struct {
		Name, Description string
		InitialStock      int64
		LowStockThreshold int64
		Variants          []Variant
		Unconfirmed       bool // invisible until its variants have their inventory records
	}

	// Update changes what is shown; nil fields stay as they are.
	Update struct {
		Name, Description *string
		LowStockThreshold *int64
	}

	// AddVariant adds a variant.
	AddVariant struct {
		Variant     Variant
		Unconfirmed bool // invisible until its inventory record is made
	}

	// AdjustStock changes the total by Delta, or to Total where that is given: what a count of the
	// shelves found. A Total that is the present one is a StockConfirmed. With an ExpectedVersion
	// it is refused unless the product is at that version.
	AdjustStock struct {
		Delta           int64
		Total           *int64 `json:",omitempty"` // not in the fingerprints of those who have none, which were stored before it was there
		Reason          string
		ExpectedVersion int64 // 0: any
	}

	// Discard ends an unconfirmed product; on any other it changes nothing.
	Discard struct{ Reason string }

	// DiscardVariant takes an unconfirmed variant back. A state doesn't list its variants: who
	// commands it knows that the product has this one, and that it is unconfirmed.
	DiscardVariant struct{ VariantID uuid.UUID }
)

// The commands that note what the Inventory Service did.
type (
	// NoteInventoryRecord notes that the Inventory Service has a record of the variant; with the
	// Last of a product's variants an unconfirmed product is confirmed.
	NoteInventoryRecord struct {
		VariantID uuid.UUID
		Siblings  []uuid.UUID // the product's other variants
		Last      bool        // they all have their records
	}

	// NoteInventoryChange notes an event of the Inventory Service.
	NoteInventoryChange struct {
		VariantID         uuid.UUID
		Type              string
		Timestamp         time.Time
		AvailableQuantity *int64
	}
)
