// SPDX-License-Identifier: Apache-2.0

package spire

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Fetched is what a pod got from the Workload API.
type Fetched struct {
	Pod    string              // the pod's name
	Chain  []*x509.Certificate // the SVID's certificate first
	Bundle []*x509.Certificate // the authorities of its trust domain
}

// ID verifies the chain with a bundle and returns the SPIFFE ID in it.
func (f Fetched) ID(bundle x509bundle.Source) (spiffeid.ID, error) {
	id, _, err := x509svid.Verify(f.Chain, bundle)
	return id, err
}

// fetchTimeout is how long a pod tries. An entry takes up to 10 s to reach an agent.
const fetchTimeout = 90 * time.Second

// separator is between the chain and the bundle in the pod's log.
const separator = "-----the bundle-----"

// Fetch runs a pod that asks the Workload API for its SVID, through a volume of the CSI driver. The pod meets the Pod
// Security level restricted, and is deleted again.
func (d *Deployment) Fetch(ctx context.Context, namespace, account string) (Fetched, error) {
	fetched, err := d.FetchAndStay(ctx, namespace, account, 0)
	if fetched.Pod == "" {
		return fetched, err
	}
	_, deleted := d.kubectl(context.WithoutCancel(ctx), "", "--namespace", namespace, "delete", "pod", fetched.Pod,
		"--wait=false")
	return fetched, errors.Join(err, deleted)
}

// FetchAndStay is Fetch with a pod that goes on running, with its volume, for some time.
func (d *Deployment) FetchAndStay(ctx context.Context, namespace, account string, stay time.Duration) (Fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	pod, err := d.fetchPod(ctx, namespace, account, stay)
	if err != nil {
		return Fetched{}, err
	}
	name, err := d.kubectl(ctx, pod, "create", "--filename=-", "--output=jsonpath={.metadata.name}")
	if err != nil {
		return Fetched{}, err
	}
	fetched := Fetched{Pod: string(name)}
	log, err := d.fetchLog(ctx, namespace, fetched.Pod)
	if err != nil {
		return fetched, err
	}
	return fetched, fetched.parse(log)
}

func (d *Deployment) fetchPod(ctx context.Context, namespace, account string, stay time.Duration) (string, error) {
	image, err := d.kubectl(ctx, "", "--namespace", Namespace, "get", d.Agent.resource(),
		"--output=jsonpath={.spec.template.spec.containers[0].image}")
	if err != nil {
		return "", err
	}
	parsed, err := templates()
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = parsed.ExecuteTemplate(&out, "fetch.yaml", map[string]any{
		"Namespace": namespace, "Account": account, "AgentPath": AgentPath, "Socket": Socket, "Image": string(image),
		"Separator": separator, "Sleep": int(stay.Seconds()),
	})
	return out.String(), err
}

// fetchLog waits for the pod's log to be complete.
func (d *Deployment) fetchLog(ctx context.Context, namespace, pod string) ([]byte, error) {
	for {
		log, err := d.kubectl(ctx, "", "--namespace", namespace, "logs", pod)
		if err == nil && complete(log) {
			return log, nil
		}
		phase, phaseErr := d.kubectl(ctx, "", "--namespace", namespace, "get", "pod", pod,
			"--output=jsonpath={.status.phase}")
		if string(phase) == "Failed" {
			return nil, fmt.Errorf("pod %s in namespace %s got no SVID: %s", pod, namespace, log)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("pod %s in namespace %s: expected an SVID in time, it is %s with the log %q",
				pod, namespace, phase, log), err, phaseErr)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func complete(log []byte) bool {
	_, bundle, found := bytes.Cut(log, []byte(separator))
	return found && bytes.HasSuffix(bytes.TrimSpace(bundle), []byte("-----END CERTIFICATE-----"))
}

func (f *Fetched) parse(log []byte) error {
	chain, bundle, _ := strings.Cut(string(log), separator)
	var err, bundleErr error
	f.Chain, err = parseCertificates(chain)
	f.Bundle, bundleErr = parseCertificates(bundle)
	return errors.Join(err, bundleErr)
}

func parseCertificates(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, certificate)
	}
	if len(all) == 0 {
		return nil, errors.New("expected a certificate, got none")
	}
	return all, nil
}
