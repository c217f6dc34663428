package graph

import (
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

const (
	rowGroup     = 50_000 // rows: what of a Parquet file is kept in memory until it is written
	parquetBatch = 500    // rows that are taken apart into columns at once
)

// parquetFile writes rows as a Parquet file (https://parquet.apache.org/docs/file-format/): typed
// columns, their pages compressed with zstd. It holds one row group in memory, and a few kilobytes
// of the footer for each that is written.
type parquetFile[Row, Record any] struct {
	out    *parquet.GenericWriter[Record]
	record func(*Row) Record
	batch  []Record
}

// newParquet returns what makes files of records.
func newParquet[Row, Record any](record func(*Row) Record) func(io.Writer) encoder[Row] {
	return func(to io.Writer) encoder[Row] {
		return &parquetFile[Row, Record]{record: record, batch: make([]Record, 0, parquetBatch),
			out: parquet.NewGenericWriter[Record](to, parquet.MaxRowsPerRowGroup(rowGroup), parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
				parquet.CreatedBy("product-service", "", ""))}
	}
}

func (p *parquetFile[Row, Record]) row(r *Row) error {
	if p.batch = append(p.batch, p.record(r)); len(p.batch) < parquetBatch {
		return nil
	}
	return p.flush()
}

func (p *parquetFile[Row, Record]) flush() error {
	_, err := p.out.Write(p.batch)
	p.batch = p.batch[:0]
	return err
}

// close writes the rest and the footer. A file without a footer can't be read.
func (p *parquetFile[Row, Record]) close() error {
	if err := p.flush(); err != nil {
		return err
	}
	return p.out.Close()
}
