package store

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/projection/view"
)

// The views that people read with a shell, a notebook or a BI tool: one plain document a movement,
// and a product and day (UTC). They show the generation that is read, with the names of a
// StockMovement and a StockBucket.
//
// A condition on productId finds its documents by an index, in both: it is moved to where the
// products and the blocks or days are read. Other conditions look at all of them.
//
// A view reads products before blocks and days. What moves from a product into a block or a day at
// that moment is seen twice then, under the same _id, and never missed.
const (
	MovementsView = "stock_movements"
	DaysView      = "stock_days"
)

// show lets the views show a generation, if the server has views. Readers of a view never find it
// missing: a view that is there is changed in one step.
func (s *Store) show(ctx context.Context, m Meta) error {
	if !s.Server.Views || m.Schema != view.Schema {
		return nil
	}
	g := s.GenerationOf(m)
	for name, pipeline := range map[string]bson.A{MovementsView: movementsOf(g), DaysView: daysOf(g)} {
		definition := bson.D{{Key: "viewOn", Value: g.Products.Name()}, {Key: "pipeline", Value: pipeline}}
		change := append(bson.D{{Key: "collMod", Value: name}}, definition...)
		err := s.db.RunCommand(ctx, change).Err()
		if hasCode(err, namespaceNotFound) {
			err = s.db.RunCommand(ctx, append(bson.D{{Key: "create", Value: name}}, definition...)).Err()
			if hasCode(err, namespaceExists) { // another instance was first
				err = s.db.RunCommand(ctx, change).Err()
			}
		}
		if err != nil {
			return fmt.Errorf("let the view %s show generation %s: %w", name, g.Name, err)
		}
	}
	return nil
}

// Codes of MongoDB's errors.
const (
	namespaceNotFound = 26
	namespaceExists   = 48
)

func stage(name string, what any) bson.D { return bson.D{{Key: name, Value: what}} }

func op(name string, operands ...any) bson.D { return bson.D{{Key: name, Value: bson.A(operands)}} }

// movementsOf is the pipeline of the view of movements, on a generation's products.
func movementsOf(g Generation) bson.A {
	row := bson.D{
		{Key: "_id", Value: op("$concat", "$product", ".", bson.D{{Key: "$toString", Value: "$rows.version"}})},
		{Key: "productId", Value: "$product"},
	}
	for _, name := range []string{
		"type", "quantity", "delta", "totalAfter", "reservedAfter", "version", "reservationId", "sagaId", "reason", "actor",
		"commandId", "correlationId", "occurredAt",
	} {
		row = append(row, bson.E{Key: name, Value: "$rows." + name})
	}
	row = append(row, bson.E{Key: "availableAfter", Value: op("$subtract", "$rows.totalAfter", "$rows.reservedAfter")})
	return bson.A{
		stage("$match", bson.D{{Key: "status", Value: view.Active}}),
		stage("$project", bson.D{{Key: "product", Value: "$_id"}, {Key: "rows", Value: "$tail"}}),
		stage("$unionWith", bson.D{
			{Key: "coll", Value: g.Movements.Name()},
			{Key: "pipeline", Value: bson.A{stage("$project", bson.D{{Key: "product", Value: 1}, {Key: "rows", Value: 1}})}},
		}),
		stage("$unwind", "$rows"),
		stage("$match", bson.D{{Key: "rows.type", Value: bson.D{{Key: "$in", Value: view.MovementTypes}}}}),
		stage("$project", row),
	}
}

// daysOf is the pipeline of the view of days, on a generation's products. Each document stands for
// the days of one in which something happened and of those about it in which nothing did: before
// it, and behind the last one up to today. "at" counts them from that day.
func daysOf(g Generation) bson.A {
	shown := bson.D{{Key: "product", Value: 1}, {Key: "name", Value: 1}, {Key: "day", Value: 1}, {Key: "sums", Value: 1}, {Key: "idleDaysBefore", Value: 1}}
	behind := op("$cond", "$isLast", op("$max", 0, dateDiff("day", "$day", "$$NOW")), 0)
	return bson.A{
		stage("$match", bson.D{{Key: "status", Value: view.Active}, {Key: "today", Value: bson.D{{Key: "$ne", Value: nil}}}}),
		stage("$project", bson.D{
			{Key: "product", Value: "$_id"}, {Key: "name", Value: 1}, {Key: "day", Value: "$today.start"}, {Key: "sums", Value: "$today"},
			{Key: "idleDaysBefore", Value: 1}, {Key: "isLast", Value: bson.D{{Key: "$literal", Value: true}}},
		}),
		stage("$unionWith", bson.D{
			{Key: "coll", Value: g.Days.Name()},
			{Key: "pipeline", Value: bson.A{
				stage("$match", bson.D{{Key: "sums", Value: bson.D{{Key: "$exists", Value: true}}}}),
				stage("$project", shown),
			}},
		}),
		stage("$addFields", bson.D{{Key: "at", Value: op("$range", op("$subtract", 0, bson.D{{Key: "$toInt", Value: "$idleDaysBefore"}}), op("$add", 1, bson.D{{Key: "$toInt", Value: behind}}))}}),
		stage("$unwind", "$at"),
		stage("$addFields", bson.D{
			{Key: "day", Value: later("$at")},
			{Key: "itself", Value: op("$eq", "$at", 0)},
			{Key: "level", Value: op("$cond", op("$lt", "$at", 0), "$sums.opening", "$sums.closing")}, // of a day in which nothing happened
		}),
		stage("$project", dayFields()),
	}
}

// later is a number of days behind the day of a document.
func later(days any) bson.D {
	return bson.D{{Key: "$dateAdd", Value: bson.D{{Key: "startDate", Value: "$day"}, {Key: "unit", Value: "day"}, {Key: "amount", Value: days}}}}
}

// dateDiff counts how many days or seconds begin between two instants.
func dateDiff(unit string, from, to any) bson.D {
	return bson.D{{Key: "$dateDiff", Value: bson.D{{Key: "startDate", Value: from}, {Key: "endDate", Value: to}, {Key: "unit", Value: unit}}}}
}

func dayFields() bson.D {
	seconds := func(from, to any) bson.D { return op("$max", 0, dateDiff("second", from, to)) }
	ends := op("$min", "$$NOW", later(1))
	counted := op("$ifNull", "$sums.countedUntil", later(1)) // only the last day isn't counted to its end
	name := bson.D{{Key: "$dateToString", Value: bson.D{{Key: "date", Value: "$day"}, {Key: "format", Value: "%Y%m%d"}}}}
	row := bson.D{
		{Key: "_id", Value: op("$concat", "$product", ".", name)},
		{Key: "productId", Value: "$product"},
		{Key: "name", Value: 1},
		{Key: "day", Value: 1},
		{Key: "start", Value: "$day"},
		{Key: "end", Value: later(1)},
		{Key: "outOfStockSeconds", Value: op("$cond", "$itself",
			op("$add", op("$ifNull", "$sums.outOfStockSeconds", 0), op("$cond", op("$eq", "$sums.closing", 0), seconds(counted, ends), 0)),
			op("$cond", op("$eq", "$level", 0), seconds("$day", ends), 0))},
	}
	for i, name := range view.BucketFields {
		value := op("$cond", "$itself", op("$ifNull", "$sums."+name, 0), 0)
		if i < view.Levels {
			value = op("$cond", "$itself", "$sums."+name, "$level")
		}
		if name != "outOfStockSeconds" {
			row = append(row, bson.E{Key: name, Value: value})
		}
	}
	return row
}
