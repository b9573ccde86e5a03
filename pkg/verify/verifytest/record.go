// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"context"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// RecordedAt is when the add-on of a virtual cluster records: a few seconds after the TaskRun ended.
func RecordedAt() time.Time { return Start().Add(65 * time.Second) }

// Recording changes the content of a record or its proof.
type Recording struct {
	Live   bool                      // the add-on sees the TaskRun's own spec
	Result func(*verify.Result)      // changes what the add-on found
	Record func(*record.Record)      // changes the record before it is proven
	Claims func(map[string]any)      // changes the claims of the proof
	Signer *Cluster                  // signs the proof, the cluster itself if nil
	Text   func(value string) string // changes the annotation
}

// Record verifies the TaskRun as the add-on of the cluster does, and puts the record into its status.
func (c *Cluster) Record(tr *v1.TaskRun, change Recording) error {
	cluster, err := c.Trust()
	if err != nil {
		return err
	}
	v, err := verify.New(cluster, verify.WithClock(RecordedAt), verify.WithUnrecorded())
	if err != nil {
		return err
	}
	result := v.TaskRun(context.Background(), tr, verify.Facts{Live: change.Live, Pinned: change.Live})
	if change.Result != nil {
		change.Result(&result)
	}
	more := verify.Recording{At: RecordedAt(), Version: "v0.4.0"}
	if result.Identity != nil {
		more.PodUID = result.Identity.PodUID
	}
	r, err := verify.NewRecord(tr, result, more)
	if err != nil {
		return err
	}
	if change.Record != nil {
		change.Record(&r)
	}
	value, err := c.proven(r, change)
	if err != nil {
		return err
	}
	if change.Text != nil {
		value = change.Text(value)
	}
	tr.Status.Annotations = map[string]string{record.Annotation: value}
	return nil
}

// proven returns the annotation's value.
func (c *Cluster) proven(r record.Record, change Recording) (string, error) {
	statement, err := r.Statement()
	if err != nil {
		return "", err
	}
	claims := recorderClaims(signing.RecordAudience(signing.AudiencePrefix, record.DigestOf(statement)))
	if change.Claims != nil {
		change.Claims(claims)
	}
	signer := c
	if change.Signer != nil {
		signer = change.Signer
	}
	token, err := signer.Token(claims)
	if err != nil {
		return "", err
	}
	return record.Encode(statement, token)
}

// RecorderToken returns a token of the add-on for an audience.
func (c *Cluster) RecorderToken(audience string) (string, error) {
	return c.Token(recorderClaims(audience))
}

// recorderClaims returns the claims of a token of the add-on.
func recorderClaims(audience string) map[string]any {
	issued := RecordedAt().Unix()
	return map[string]any{
		"aud": []string{audience}, "exp": issued + 600, "iat": issued, "nbf": issued, "iss": Issuer, "sub": trust.AddOn,
		"kubernetes.io": map[string]any{
			"namespace": "tekton-sign",
			"pod": map[string]any{"name": "tekton-sign-controller-0",
				"uid": types.UID("5d7c1f9e-8f0b-4a52-9d9e-3a2b6c1d7e44")},
			"serviceaccount": map[string]any{"name": "controller", "uid": "9f1c6f0e-0c8e-4d1c-9c35-5d0a1b2c3d4e"},
		},
	}
}
