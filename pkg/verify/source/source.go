// SPDX-License-Identifier: Apache-2.0

// Package source reads TaskRuns from files that anybody may have written: JSON and YAML, one object or a List, one document
// or many, lines of JSON, records exported from Tekton Results, all of it compressed with gzip or not. Files are read
// object by object, so that memory does not grow with their length. Nothing is skipped in silence: what is no TaskRun is an
// error with its place, or is said to be left out.
package source

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
)

// Caps of the input.
const (
	maxObjectBytes = 8 << 20  // of one TaskRun
	maxSkipped     = 64 << 20 // of one object that is too large: then the file is given up
	maxResults     = 4096     // of one TaskRun
)

// howTo is the next step in errors about what a file holds.
const howTo = "write one with kubectl get taskrun NAME -o yaml"

// Object is one object of the input. It has been cut out but not looked into, so that this can be done on all cores.
type Object struct {
	Place string // which object of the input it is, for people; empty if it is the only one

	data   []byte
	format format
	err    error
}

// Size is how long the object is in the input, in bytes.
func (o Object) Size() int { return len(o.data) }

// format says how an object is written.
type format int

const (
	formatJSON format = iota
	formatYAML
	formatRecord // a record of Tekton Results, in JSON
)

// Omitted says that an object is no TaskRun, and that nobody expected one there.
type Omitted struct{ What string }

func (e *Omitted) Error() string { return e.What }

// TaskRun returns the TaskRun that the object is. The error is an *Omitted for what may stand beside TaskRuns.
func (o Object) TaskRun() (*v1.TaskRun, error) {
	if o.err != nil {
		return nil, o.err
	}
	switch o.format {
	case formatYAML:
		data, err := yamlToJSON(o.data)
		if err != nil {
			return nil, fmt.Errorf("no plain YAML: %w", err)
		}
		return Decode(data)
	case formatRecord:
		return decodeRecord(o.data)
	case formatJSON:
	}
	return Decode(o.data)
}

// Read returns every object in r, in order, while it reads. What cannot be read at all is an object, too: one whose TaskRun
// is an error. The sequence can be used once.
func Read(r io.Reader) iter.Seq[Object] {
	return func(yield func(Object) bool) {
		c := &cutter{yield: yield}
		c.read(r)
		c.flush()
		if c.documents == 0 && !c.stopped {
			c.emit(Object{err: fmt.Errorf("empty: expected a TaskRun, %s", howTo)})
		}
	}
}

// cutter hands out objects with their places.
type cutter struct {
	yield     func(Object) bool
	stopped   bool    // nobody wants more
	documents int     // that were found so far
	first     *Object // the first document, until it is known whether there is another
}

// document hands out the next document.
func (c *cutter) document(o Object) {
	c.next()
	o.Place = fmt.Sprintf("document %d", c.documents)
	if c.documents == 1 {
		c.first = &o
		return
	}
	c.emit(o)
}

// next counts a document. It says whether there is more than one.
func (c *cutter) next() {
	if c.first != nil {
		c.emit(*c.first)
		c.first = nil
	}
	c.documents++
}

// item hands out the n-th item, from 1, of the current document.
func (c *cutter) item(n int, o Object) { c.emit(c.inDocument(fmt.Sprintf("item %d", n), o)) }

// remark hands out something about the current document, which is a list.
func (c *cutter) remark(o Object) { c.emit(c.inDocument("", o)) }

func (c *cutter) inDocument(place string, o Object) Object {
	o.Place = place
	if c.documents > 1 {
		o.Place = fmt.Sprintf("document %d", c.documents)
		if place != "" {
			o.Place += ", " + place
		}
	}
	return o
}

func (c *cutter) flush() {
	if c.first != nil {
		c.first.Place = ""
		c.emit(*c.first)
	}
}

func (c *cutter) emit(o Object) {
	if !c.stopped {
		c.stopped = !c.yield(o)
	}
}

// fail hands out an error that is about no single object.
func (c *cutter) fail(err error) { c.document(Object{err: err}) }

// read finds out how the input is written and cuts it.
func (c *cutter) read(r io.Reader) {
	b := bufio.NewReaderSize(r, 64<<10)
	start, err := b.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		c.fail(err)
		return
	}
	if bytes.Equal(start, gzipMagic) {
		inflated, err := inflate(b)
		if err != nil {
			c.fail(err)
			return
		}
		b = bufio.NewReaderSize(inflated, 64<<10)
	}
	switch start, err = b.Peek(3); {
	case err != nil && !errors.Is(err, io.EOF):
		c.fail(err)
		return
	case bytes.HasPrefix(start, []byte("\xff\xfe")) || bytes.HasPrefix(start, []byte("\xfe\xff")):
		c.fail(errors.New("the text is UTF-16: save it as UTF-8"))
		return
	case bytes.Equal(start, []byte("\xef\xbb\xbf")):
		_, _ = b.Discard(len(start))
	}
	first, err := skipSpace(b)
	switch {
	case errors.Is(err, io.EOF):
	case err != nil:
		c.fail(err)
	case first == '{' || first == '[':
		(&jsonCutter{cutter: c, r: b}).run()
	default:
		(&yamlCutter{cutter: c, r: b}).run()
	}
}

// skipSpace returns the first byte that is no white space, and leaves it in r. YAML cares for the spaces before it: only
// whole lines are taken.
func skipSpace(b *bufio.Reader) (byte, error) {
	for n := 1; ; n++ {
		start, err := b.Peek(n)
		if len(start) < n {
			return 0, err
		}
		switch last := start[n-1]; {
		case last == '\n':
			_, _ = b.Discard(n)
			n = 0
		case n == maxIndent:
			return last, nil
		case last != ' ' && last != '\t' && last != '\r':
			return last, nil
		}
	}
}

// maxIndent is how far the first word of a file is looked for in its line.
const maxIndent = 1 << 10

// list is the part of a list that is read after its items.
type list struct {
	APIVersion    string            `json:"apiVersion"`
	Kind          string            `json:"kind"`
	Metadata      map[string]any    `json:"metadata"`
	Items         []json.RawMessage `json:"items"`
	Records       []json.RawMessage `json:"records"`
	NextPageToken string            `json:"nextPageToken"`
}

// endList looks at what stood around the items of a list. field held n of them.
func (c *cutter) endList(rest []byte, field string, n int) {
	var l list
	if err := strictjson.DecodeOpen(rest, &l); err != nil {
		c.remark(Object{err: fmt.Errorf("the list around the items: %w", err)})
		return
	}
	isList := l.Kind == "List" || l.Kind == "TaskRunList"
	what := l.Kind
	if field == "records" {
		isList, what = l.Kind == "", "export of Tekton Results"
	}
	switch {
	case l.Items == nil && l.Records == nil || len(l.Items)+len(l.Records) > 0:
		c.remark(Object{err: fmt.Errorf("the %s can be read in two ways: write it as JSON", field)})
	case !isList:
		c.remark(Object{err: fmt.Errorf("expected a List of TaskRuns, got kind %q with %s", l.Kind, field)})
	case n == 0:
		c.remark(Object{err: fmt.Errorf("the %s has no items: expected TaskRuns", what)})
	case l.NextPageToken != "":
		c.remark(Object{err: &Omitted{What: "further pages of the export: only one page was exported, nextPageToken is set"}})
	}
}
