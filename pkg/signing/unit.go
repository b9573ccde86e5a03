// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"

	"github.com/tektoncd/pipeline/pkg/result"
)

// Type URIs of the statement and of its envelope.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://tekton-sign.dev/results/v2"
	PayloadType   = "application/vnd.in-toto+json"
)

// messagePrefix begins every message (DSSE's pre-authentication encoding, version 1).
const messagePrefix = "DSSEv1 "

// payloadMagic separates payloads from everything else that is ever hashed.
const payloadMagic = "tekton-sign.dev/results/v2\x00"

// exitCodeKey is the entry in which Tekton's entrypoint records the exit code of a step with onError: continue.
const exitCodeKey = "ExitCode"

// Unit is what one step's evidence vouches for: where the step ran, how it ended, and everything it emitted.
type Unit struct {
	Header    Header
	Namespace string
	TaskRun   string
	Pod       string
	Container string
	ExitCode  int32
	Entries   []Entry // as EntriesOf returns them
}

// Entry is one thing a step emitted: a task result (kind 1), a step result (4), the step's artifacts (5) or the task's
// artifacts (6).
type Entry struct {
	Kind  result.ResultType
	Name  string
	Value string
}

// Digest is the SHA-256 of a unit's message, the value that is signed.
type Digest [sha256.Size]byte

// EntriesOf returns the entries of results for which a unit vouches, sorted by kind and name: of each key the
// last entry, if its kind is signed and it is not a carrier. It returns an error if there are more of them
// than a header can count.
func EntriesOf(results []result.RunResult) ([]Entry, error) {
	last := make(map[string]result.RunResult, len(results))
	for _, r := range results {
		last[r.Key] = r
	}
	entries := make([]Entry, 0, len(last))
	for _, r := range last {
		if IsSignedKind(r.ResultType) && !IsCarrier(r) {
			entries = append(entries, Entry{Kind: r.ResultType, Name: r.Key, Value: r.Value})
		}
	}
	if len(entries) > math.MaxUint16 {
		return nil, fmt.Errorf("%d entries are more than the %d that evidence can count", len(entries), math.MaxUint16)
	}
	SortEntries(entries)
	return entries, nil
}

// IsSignedKind reports whether units vouch for entries of a kind: results and artifacts, of steps and of
// tasks.
func IsSignedKind(kind result.ResultType) bool {
	switch kind {
	case result.TaskRunResultType, result.StepResultType,
		result.StepArtifactsResultType, result.TaskRunArtifactsResultType:
		return true
	}
	return false
}

// ExitCodeOf returns the exit code that Tekton will record for a step: the one that its entrypoint wrote into
// results, or else the container's own.
func ExitCodeOf(results []result.RunResult, containerExitCode int32) int32 {
	code := containerExitCode
	for _, r := range results {
		if r.Key != exitCodeKey {
			continue
		}
		code = containerExitCode // the last entry of a key wins, even if it does not parse
		if n, err := strconv.ParseInt(r.Value, 10, 32); err == nil {
			code = int32(n)
		}
	}
	return code
}

// Payload returns the bytes that the statement describes.
func (u Unit) Payload() []byte { return u.payload(u.sums()) }

// sums returns the SHA-256 of every entry's value.
func (u Unit) sums() [][sha256.Size]byte {
	sums := make([][sha256.Size]byte, len(u.Entries))
	for i, e := range u.Entries {
		sums[i] = sha256.Sum256([]byte(e.Value))
	}
	return sums
}

func (u Unit) payload(sums [][sha256.Size]byte) []byte {
	b := u.Header.appendBinary([]byte(payloadMagic))
	for _, s := range []string{u.Namespace, u.TaskRun, u.Pod, u.Container} {
		b = appendPrefixed(b, s)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(u.ExitCode)) // #nosec G115 -- two's complement is the format
	for i, e := range u.Entries {
		b = append(b, byte(e.Kind)) // #nosec G115 -- isSignedKind admits 1 to 6
		b = appendPrefixed(b, e.Name)
		b = binary.BigEndian.AppendUint32(b, uint32(len(e.Value))) // #nosec G115 -- values are capped far below
		b = append(b, sums[i][:]...)
	}
	return b
}

// Statement returns the in-toto Statement (v1) of the unit: exactly these bytes, in this member order.
func (u Unit) Statement() []byte {
	sums := u.sums()
	payload := u.payload(sums)
	sum := sha256.Sum256(payload)
	b := append([]byte(`{"_type":"`), StatementType...)
	b = append(b, `","subject":[{"name":"unit","digest":{"sha256":"`...)
	b = append(hex.AppendEncode(b, sum[:]), `"}}`...)
	for i, e := range u.Entries {
		b = append(b, `,{"name":"`...)
		b = strconv.AppendInt(b, int64(e.Kind), 10)
		b = append(b, '/')
		b = append(b, subjectName(e.Name)...)
		b = append(b, `","digest":{"sha256":"`...)
		b = append(hex.AppendEncode(b, sums[i][:]), `"}}`...)
	}
	b = append(b, `],"predicateType":"`...)
	b = append(b, PredicateType...)
	b = append(b, `","predicate":{"payload":"`...)
	b = base64.RawURLEncoding.AppendEncode(b, payload)
	return append(b, `"}}`...)
}

// Message returns the DSSE pre-authentication encoding of the statement, the message that key-based schemes sign.
func (u Unit) Message() []byte { return MessageOf(u.Statement()) }

// MessageOf returns the DSSE pre-authentication encoding of an in-toto Statement.
func MessageOf(statement []byte) []byte {
	b := fmt.Appendf(nil, messagePrefix+"%d %s %d ", len(PayloadType), PayloadType, len(statement))
	return append(b, statement...)
}

// Digest returns the SHA-256 of Message.
func (u Unit) Digest() Digest { return sha256.Sum256(u.Message()) }

// subjectName returns name in a form that needs no JSON escaping.
func subjectName(name string) string {
	if isPlain(name) {
		return "name/" + name
	}
	return "base64url/" + base64.RawURLEncoding.EncodeToString([]byte(name))
}

// isPlain reports whether a statement shows name as it is: it has only ASCII letters and digits, and . _ / -
func isPlain(name string) bool {
	for _, c := range []byte(name) {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '_', c == '/', c == '-':
		default:
			return false
		}
	}
	return name != ""
}

// appendPrefixed appends the length of s, a big-endian uint32, and s.
func appendPrefixed(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s))) // #nosec G115 -- names are capped far below
	return append(b, s...)
}
