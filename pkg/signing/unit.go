// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"github.com/tektoncd/pipeline/pkg/result"
)

// Type URIs of the statement and of its envelope.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://tekton-sign.dev/results/v2"
	PayloadType   = "application/vnd.in-toto+json"
)

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

// EntriesOf returns what a unit vouches for in results: of each key the last entry, if it is of a signed kind and no
// carrier, sorted by kind and name. It is an error to have more of them than a header can count.
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

// IsSignedKind reports whether entries of a kind are vouched for: results and artifacts, of steps and of tasks.
func IsSignedKind(kind result.ResultType) bool {
	switch kind {
	case result.TaskRunResultType, result.StepResultType,
		result.StepArtifactsResultType, result.TaskRunArtifactsResultType:
		return true
	}
	return false
}

// ExitCodeOf returns the exit code that Tekton will record for a step: the one its entrypoint wrote into results, else
// the container's own.
func ExitCodeOf(results []result.RunResult, containerExitCode int32) int32 {
	code := containerExitCode
	for _, r := range results {
		if r.Key != exitCodeKey {
			continue
		}
		code = containerExitCode // the last entry of a key wins, also when it does not parse
		if n, err := strconv.ParseInt(r.Value, 10, 32); err == nil {
			code = int32(n)
		}
	}
	return code
}

// Payload returns the bytes over which the statement speaks.
func (u Unit) Payload() []byte {
	b := u.Header.appendBinary([]byte(payloadMagic))
	for _, s := range []string{u.Namespace, u.TaskRun, u.Pod, u.Container} {
		b = appendPrefixed(b, s)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(u.ExitCode)) // #nosec G115 -- two's complement is the format
	for _, e := range u.Entries {
		sum := sha256.Sum256([]byte(e.Value))
		b = append(b, byte(e.Kind)) // #nosec G115 -- IsSignedKind admits 1 to 6
		b = appendPrefixed(b, e.Name)
		b = binary.BigEndian.AppendUint32(b, uint32(len(e.Value))) // #nosec G115 -- values are capped far below
		b = append(b, sum[:]...)
	}
	return b
}

// Statement returns the in-toto Statement (v1) of the unit: exactly these bytes, in this member order.
func (u Unit) Statement() []byte {
	payload := u.Payload()
	sum := sha256.Sum256(payload)
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"_type":"%s","subject":[{"name":"unit","digest":{"sha256":"%x"}}`, StatementType, sum)
	for _, e := range u.Entries {
		value := sha256.Sum256([]byte(e.Value))
		fmt.Fprintf(&b, `,{"name":"%d/%s","digest":{"sha256":"%s"}}`,
			e.Kind, subjectName(e.Name), hex.EncodeToString(value[:]))
	}
	fmt.Fprintf(&b, `],"predicateType":"%s","predicate":{"payload":"%s"}}`,
		PredicateType, base64.RawURLEncoding.EncodeToString(payload))
	return b.Bytes()
}

// Message returns the DSSE pre-authentication encoding of the statement, the message that key-based schemes sign.
func (u Unit) Message() []byte {
	statement := u.Statement()
	b := fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(PayloadType), PayloadType, len(statement))
	return append(b, statement...)
}

// Digest returns the SHA-256 of Message.
func (u Unit) Digest() Digest { return sha256.Sum256(u.Message()) }

// plainName matches the names that a statement shows as they are.
var plainName = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)

// subjectName returns name in a form that needs no JSON escaping.
func subjectName(name string) string {
	if plainName.MatchString(name) {
		return "name/" + name
	}
	return "base64url/" + base64.RawURLEncoding.EncodeToString([]byte(name))
}

// appendPrefixed appends s behind its length, a big-endian uint32.
func appendPrefixed(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s))) // #nosec G115 -- names are capped far below
	return append(b, s...)
}
