package eventstore

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrCommitUnknown says that the connection was lost while a transaction was being written: it may
// be there or not. Name the places of its rows in the [Keys] of the next try: if all of them are
// there, it was committed.
var ErrCommitUnknown = errors.New("it is not known whether the transaction was committed")

func commitError(err error) error {
	if isServerError(err) {
		return fmt.Errorf("commit a batch: %w", err)
	}
	return fmt.Errorf("write a batch: %w: %w", ErrCommitUnknown, err)
}

// isServerError says that the server itself refused the statement, so that nothing was committed.
// An administrator's command or a crash (class 57) ends a statement without saying what became of a
// commit.
func isServerError(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && class(pg) != "57" && class(pg) != "08"
}

func class(pg *pgconn.PgError) string { return pg.Code[:min(2, len(pg.Code))] }

// races are the unique keys that two honest writers can meet on.
var races = map[string]bool{
	"log_pkey": true, "log_stream": true, "product_head_pkey": true, "reservation_pkey": true, "inbox_pkey": true,
	"variant_pkey": true, "variant_sku": true, "variant_sku_key": true,
}

// Retryable says that the batch lost a race and will be decided anew on the state of the winner.
func Retryable(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	switch pg.Code {
	case "40001", "40P01":
		return true
	case "23505":
		return races[pg.ConstraintName]
	}
	return false
}

// Faulty says that a command of the batch itself is at fault: the database will refuse it however
// often it is tried (SQLSTATE classes 22, 23 and 54).
func Faulty(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || Retryable(err) {
		return false
	}
	return class(pg) == "22" || class(pg) == "23" || class(pg) == "54"
}
