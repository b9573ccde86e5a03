// SPDX-License-Identifier: Apache-2.0

// Package source reads TaskRuns from files that anyone may have written: JSON and YAML, one object or a List,
// one document or many, lines of JSON, and records exported from Tekton Results, all of it compressed with
// gzip or not. It reads files object by object, so that memory does not grow with their length. It skips
// nothing silently: an object that is not a TaskRun is an error with its place, or is reported as left out.
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
	maxSkipped     = 64 << 20 // of one object that is too large; reading stops after that
	maxResults     = 4096     // of one TaskRun
)

// howTo is the next step in errors about the content of a file.
const howTo = "write one with kubectl get taskrun NAME -o yaml"

// Object is one object of the input. It is not decoded yet, so that this can be done on all cores.
type Object struct {
	Place string // which object of the input it is, as text for people; empty if it is the only one

	data   []byte
	format format
	err    error
}

// Size returns the length of the object in the input, in bytes.
func (o Object) Size() int { return len(o.data) }

// format is how an object is written.
type format int

const (
	formatJSON format = iota
	formatYAML
	formatRecord // a record of Tekton Results, in JSON
)

// Omitted means that an object is not a TaskRun, and that none was expected there.
type Omitted struct{ What string }

func (e *Omitted) Error() string { return e.What }

// TaskRun returns the TaskRun that the object is. The error is an *Omitted for objects that may be next to
// TaskRuns.
func (o Object) TaskRun() (*v1.TaskRun, error) {
	if o.err != nil {
		return nil, o.err
	}
	switch o.format {
	case formatYAML:
		data, err := yamlToJSON(o.data)
		if err != nil {
			return nil, fmt.Errorf("not plain YAML: %w", err)
		}
		return Decode(data)
	case formatRecord:
		return decodeRecord(o.data)
	case formatJSON:
	}
	return Decode(o.data)
}

// JSON returns an object of any kind as JSON. Records of Tekton Results have no other form than TaskRun.
func (o Object) JSON() ([]byte, error) {
	switch {
	case o.err != nil:
		return nil, o.err
	case o.format == formatYAML:
		data, err := yamlToJSON(o.data)
		if err != nil {
			return nil, fmt.Errorf("not plain YAML: %w", err)
		}
		return data, nil
	case o.format == formatRecord:
		return nil, nil
	}
	return o.data, nil
}

// Read returns every object in r, in order, while it reads. For input that cannot be read at all, it returns
// an object whose TaskRun method returns the error. The sequence can be used once.
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

// cutter emits objects with their places.
type cutter struct {
	yield     func(Object) bool
	stopped   bool    // the caller wants no more objects
	documents int     // found so far
	first     *Object // the first document, until a second one is found or the input ends
}

// document emits the next document.
func (c *cutter) document(o Object) {
	c.next()
	o.Place = fmt.Sprintf("document %d", c.documents)
	if c.documents == 1 {
		c.first = &o
		return
	}
	c.emit(o)
}

// next counts a document, so that places are named once there is more than one.
func (c *cutter) next() {
	if c.first != nil {
		c.emit(*c.first)
		c.first = nil
	}
	c.documents++
}

// item emits the n-th item, from 1, of the current document.
func (c *cutter) item(n int, o Object) { c.emit(c.inDocument(fmt.Sprintf("item %d", n), o)) }

// remark emits something about the current document, which is a list.
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

// fail emits an error that is not about a single object.
func (c *cutter) fail(err error) { c.document(Object{err: err}) }

// read finds out how the input is written and splits it into objects.
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

// skipSpace returns the first byte that is not white space, and leaves it in r. It consumes whole lines only,
// because leading spaces are significant in YAML.
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

// maxIndent is the maximum indentation of the first word of a file.
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

// endList checks the list around its n items, which were in field.
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
