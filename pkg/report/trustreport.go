// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// TrustKind is the kind of the machine-readable form of a TrustReport.
const TrustKind = "TrustReport"

// TrustReport shows which keys a trust bundle, or a cluster, has.
type TrustReport struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Tool       version.Info    `json:"tool"`
	Source     string          `json:"source"`           // SourceFile or SourceCluster
	Path       string          `json:"path,omitempty"`   // of the file
	SHA256     string          `json:"sha256,omitempty"` // hex, of the file's bytes
	Keys       []TrustKey      `json:"keys"`
	Recorders  []TrustRecorder `json:"recorders,omitempty"`
	trust.Identities
	Notes []string `json:"notes,omitempty"` // notes about missing keys
}

// TrustKey is one key of one cluster.
type TrustKey struct {
	Cluster     verify.ClusterRef `json:"cluster"`
	Issuer      string            `json:"issuer"`        // as in trust.Key
	KeyID       string            `json:"kid,omitempty"` // absent for an X.509 authority
	Algorithm   string            `json:"alg"`           // of tokens (RFC 7518), or X.509
	Federated   bool              `json:"federated,omitempty"`
	FirstSeen   string            `json:"firstSeen,omitempty"` // RFC 3339; absent if unknown
	LastSeen    string            `json:"lastSeen,omitempty"`
	InUse       bool              `json:"inUse"`
	Fingerprint string            `json:"fingerprint"` // hex SHA-256 of the key (SPKI, DER) or of the certificate (DER)
}

// TrustRecorder is an identity whose records of a cluster are trusted.
type TrustRecorder struct {
	Cluster verify.ClusterRef `json:"cluster"`
	Subject string            `json:"subject"`
}

// NewTrustReport returns the report of a bundle that has been parsed.
func NewTrustReport(source string, b *trust.Bundle) (*TrustReport, error) {
	r := &TrustReport{APIVersion: APIVersion, Kind: TrustKind, Tool: version.Get(), Source: source, Keys: []TrustKey{}}
	for i := range b.Clusters {
		if err := r.addCluster(&b.Clusters[i]); err != nil {
			return nil, err
		}
	}
	var hasRoot bool
	if r.Identities, hasRoot = b.CertificateRoot(); hasRoot {
		r.Notes = append(r.Notes, "the bundle also has the trusted root of these certificates")
	}
	return r, nil
}

func (r *TrustReport) addCluster(c *trust.Cluster) error {
	ref := verify.ClusterRef{Name: c.Name, UID: c.UID}
	keys, err := c.Keys()
	if err != nil {
		return err
	}
	for _, k := range keys {
		r.Keys = append(r.Keys, TrustKey{
			Cluster: ref, Issuer: k.Issuer, KeyID: k.ID, Algorithm: k.Algorithm, Federated: k.Federated,
			FirstSeen: timeText(k.NotBefore), LastSeen: cmp.Or(timeText(k.NotAfter), timeText(k.LastSeen)),
			InUse: k.NotAfter.IsZero(), Fingerprint: k.Fingerprint,
		})
	}
	for _, recorder := range c.Recorders {
		r.Recorders = append(r.Recorders, TrustRecorder{Cluster: ref, Subject: recorder.Subject})
	}
	return nil
}

func timeText(t trust.Timestamp) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// JSON writes the report as one JSON object.
func (r *TrustReport) JSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}

// YAML writes the report as one YAML document.
func (r *TrustReport) YAML(w io.Writer) error {
	data, err := yaml.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	_, err = w.Write(data)
	return err
}

// Table writes the report for people, with one line for each key. The digest of the file comes last.
func (r *TrustReport) Table(w io.Writer) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "CLUSTER\tISSUER\tKID\tALG\tFIRST SEEN\tLAST SEEN\tFINGERPRINT")
	for _, k := range r.Keys {
		issuer := display.Short(k.Issuer, cellWidth)
		if k.Federated {
			issuer += " (federated)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", display.Short(cmp.Or(k.Cluster.Name, k.Cluster.UID), cellWidth),
			issuer,
			display.Short(cmp.Or(k.KeyID, "-"), cellWidth), display.Short(k.Algorithm, cellWidth), cmp.Or(k.FirstSeen, "-"),
			k.lastSeenText(),
			display.Safe(k.Fingerprint))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, recorder := range r.Recorders {
		fmt.Fprintf(&b, "records by %s of cluster %s\n", display.Short(recorder.Subject, display.DefaultWidth),
			display.Short(cmp.Or(recorder.Cluster.Name, recorder.Cluster.UID), cellWidth))
	}
	for _, id := range r.List() {
		fmt.Fprintf(&b, "certificates of %s for %s\n", display.Short(id.Issuer, display.DefaultWidth),
			display.Short(id.Subject, display.DefaultWidth))
	}
	for _, note := range r.Notes {
		fmt.Fprintln(&b, "note: "+display.Safe(note))
	}
	if r.SHA256 != "" {
		fmt.Fprintf(&b, "SHA-256 %s  %s\n", display.Safe(r.SHA256), display.Safe(r.Path))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cellWidth is how many characters of one cell are shown.
const cellWidth = 80

func (k TrustKey) lastSeenText() string {
	switch {
	case k.InUse && k.LastSeen != "":
		return k.LastSeen + ", in use"
	case k.InUse:
		return "in use"
	}
	return k.LastSeen
}
