// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tektoncd/pipeline/pkg/result"
)

// vectorResults returns the entries of the test vector in docs/evidence.md, out of order and with entries
// that no unit signs.
func vectorResults() []result.RunResult {
	return []result.RunResult{
		{Key: "list", Value: `["a","b"]`, ResultType: result.TaskRunResultType},
		{Key: "scan", Value: "step-level", ResultType: result.StepResultType},
		{Key: "IMAGE_URL", Value: "overwritten", ResultType: result.TaskRunResultType},
		{Key: "StartedAt", Value: "2026-11-22T10:00:00.000Z", ResultType: result.InternalTektonResultType},
		{Key: "IMAGE_URL", Value: "reg.example/app", ResultType: result.TaskRunResultType},
		{Key: CarrierToken, Value: "forged", ResultType: result.TaskRunResultType},
		{Key: "empty", Value: "", ResultType: result.TaskRunResultType},
		{Key: "IMAGE_DIGEST", Value: "sha256:aaa", ResultType: result.TaskRunResultType},
	}
}

func vectorUnit(t *testing.T) Unit {
	t.Helper()
	podUID, err := ParseUID("3db15e48-971f-4815-84b3-272e52f61a10")
	if err != nil {
		t.Fatal(err)
	}
	taskRunUID, err := ParseUID("6340374f-3a88-4ff2-812e-c155a2d8e142")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := EntriesOf(vectorResults())
	if err != nil {
		t.Fatal(err)
	}
	return Unit{
		Header: Header{
			Scheme: SchemeOIDCPayloadBound, Algorithm: AlgorithmNone, Flags: FlagLast,
			PodUID: podUID, TaskRunUID: taskRunUID, SignedAt: time.Unix(1795341966, 0).UTC(),
			Index: 0, Count: 1, Entries: uint16(len(entries)),
		},
		Namespace: "ci", TaskRun: "build", Pod: "build-pod", Container: "step-build", Entries: entries,
	}
}

func TestVector(t *testing.T) {
	u := vectorUnit(t)
	payload, message, digest := sha256.Sum256(u.Payload()), sha256.Sum256(u.Message()), u.Digest()
	got := map[string]any{
		"header":          hex.EncodeToString(u.Header.appendBinary(nil)),
		"payload length":  len(u.Payload()),
		"payload":         hex.EncodeToString(payload[:]),
		"statement":       len(u.Statement()),
		"message length":  len(u.Message()),
		"message":         hex.EncodeToString(message[:]),
		"digest":          hex.EncodeToString(digest[:]),
		CarrierManifest:   u.Header.Manifest(),
		"manifest length": len(u.Header.Manifest()),
		"audience":        PayloadAudience(AudiencePrefix, digest),
	}
	const sum = "2d7602cddc6cc2c568cf0cb99d68efe698c05d3b64e28f694c556df96589e129"
	want := map[string]any{
		"header": "020300013db15e48971f481584b3272e52f61a10" +
			"6340374f3a884ff2812ec155a2d8e1426b02be8e00010005",
		"payload length":  356,
		"payload":         "f3b54e006740f50151435ab047be16ea547863092a1095bf1dbeea812ced1506",
		"statement":       1277,
		"message length":  1321,
		"message":         sum,
		"digest":          sum,
		CarrierManifest:   "v2:AgMAAT2xXkiXH0gVhLMnLlL2GhBjQDdPOohP8oEuwVWi2OFCawK-jgABAAU",
		"manifest length": 62,
		"audience":        "tekton-result-signing:p:LXYCzdxswsVozwy5nWjv5pjAXTtk4o9pTFVt-WWJ4Sk",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("test vector differs (-want +got):\n%s", diff)
	}
}

func TestParseManifestReadsWhatManifestWrites(t *testing.T) {
	want := vectorUnit(t).Header
	got, err := ParseManifest(want.Manifest())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("header differs (-want +got):\n%s", diff)
	}
}

func TestParseManifestRefuses(t *testing.T) {
	valid := vectorUnit(t).Header
	with := func(change func(*Header)) string {
		h := valid
		change(&h)
		return h.Manifest()
	}
	for name, value := range map[string]string{
		"v1":                  "IMAGE_DIGEST,IMAGE_URL",
		"empty":               "",
		"prefix alone":        "v2:",
		"truncated":           valid.Manifest()[:61],
		"too long":            valid.Manifest() + "A",
		"padding":             valid.Manifest()[:61] + "=",
		"line break":          valid.Manifest()[:61] + "\n",
		"trailing bits":       valid.Manifest()[:61] + "V",
		"version 3":           "v2:Aw" + valid.Manifest()[5:],
		"unknown scheme":      with(func(h *Header) { h.Scheme = 5 }),
		"payload with a key":  with(func(h *Header) { h.Algorithm = AlgorithmECDSAP256 }),
		"spire without a key": with(func(h *Header) { h.Scheme = SchemeSPIRE }),
		"unknown flag":        with(func(h *Header) { h.Flags |= 8 }),
		"last not marked":     with(func(h *Header) { h.Flags = 0 }),
		"marked not last":     with(func(h *Header) { h.Count = 2 }),
		"index beyond count":  with(func(h *Header) { h.Index = 1 }),
		"no steps":            with(func(h *Header) { h.Count = 0 }),
	} {
		if h, err := ParseManifest(value); err == nil {
			t.Errorf("%s: ParseManifest(%q) = %+v, want an error", name, value, h)
		}
	}
}

func TestStatementEncodesUnusualNames(t *testing.T) {
	u := vectorUnit(t)
	u.Entries = []Entry{{Kind: result.TaskRunResultType, Name: `a"b`, Value: "x"}}
	const want = `{"name":"1/base64url/YSJi","digest":`
	if got := string(u.Statement()); !strings.Contains(got, want) {
		t.Errorf("statement %s\nwant it to contain %s", got, want)
	}
}

func TestExitCodeOf(t *testing.T) {
	code := func(v string) result.RunResult { return result.RunResult{Key: exitCodeKey, Value: v, ResultType: 3} }
	for name, c := range map[string]struct {
		results []result.RunResult
		want    int32
	}{
		"none":              {nil, 7},
		"recorded":          {[]result.RunResult{code("3")}, 3},
		"negative":          {[]result.RunResult{code("-1")}, -1},
		"last wins":         {[]result.RunResult{code("3"), code("4")}, 4},
		"no number":         {[]result.RunResult{code("x")}, 7},
		"last no number":    {[]result.RunResult{code("3"), code("x")}, 7},
		"more than 32 bits": {[]result.RunResult{code("4294967296")}, 7},
	} {
		if got := ExitCodeOf(c.results, 7); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestEntriesOfLastKindOfAKeyWins(t *testing.T) {
	got, err := EntriesOf([]result.RunResult{
		{Key: "a", Value: "1", ResultType: result.TaskRunResultType},
		{Key: "a", Value: "2", ResultType: result.StepResultType},
		{Key: "b", Value: "1", ResultType: result.TaskRunResultType},
		{Key: "b", Value: "2", ResultType: result.InternalTektonResultType},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Entry{{Kind: result.StepResultType, Name: "a", Value: "2"}}, got); diff != "" {
		t.Errorf("entries differ (-want +got):\n%s", diff)
	}
}

func TestUnsignedManifest(t *testing.T) {
	for _, reason := range UnsignedReasons() {
		got, ok := ParseUnsignedManifest(UnsignedManifest(reason).Value)
		if !ok || got != reason {
			t.Errorf("reason %q is read back as %q, %v", reason, got, ok)
		}
	}
	for _, value := range []string{"", "none", "none:", "none:because", "None:too-long", "none:too-long ",
		"v2:none:too-long"} {
		if got, ok := ParseUnsignedManifest(value); ok {
			t.Errorf("ParseUnsignedManifest(%q) = %q, want none", value, got)
		}
	}
}

func TestParseUIDRefuses(t *testing.T) {
	for _, s := range []string{
		"", "3db15e48971f481584b3272e52f61a10", "3DB15E48-971f-4815-84b3-272e52f61a10",
		"3db15e48-971f-4815-84b3-272e52f61a1", "3db15e48-971f-4815-84b3-272e52f61a10\n",
		"3db15e48-971f-4815-84b3-272e52f61g10",
	} {
		if uid, err := ParseUID(s); err == nil {
			t.Errorf("ParseUID(%q) = %s, want an error", s, uid)
		}
	}
}
