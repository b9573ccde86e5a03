// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// Where the add-on mounts what a signer needs. Tekton does not let steps mount anything there.
const (
	// SocketDir holds the socket of SPIRE's agent.
	SocketDir = "/tekton/sign-spire"
	// PodDir holds the files PodNameFile and PodUIDFile, from the downward API.
	PodDir      = "/tekton/sign-pod"
	PodNameFile = "name"
	PodUIDFile  = "uid"
)

// How the signer waits for its identity. An entry of SPIRE takes up to ten seconds to reach the agent. The
// retries of go-spiffe itself wait up to 30 seconds in between.
const (
	retryPause = 200 * time.Millisecond
	hastyLimit = time.Second // after an earlier step of the pod got no identity
)

// errNoIdentity means that the agent answers, and has no identity for the TaskRun yet.
var errNoIdentity = errors.New("SPIRE has no identity for this TaskRun")

// readPod reads the name and the UID of the pod from its volume.
func readPod(root string) (step.Pod, error) {
	read := func(name string) (string, error) {
		text, err := os.ReadFile(filepath.Join(root, PodDir, name))
		return strings.TrimSpace(string(text)), err
	}
	name, err := read(PodNameFile)
	if err != nil {
		return step.Pod{}, fmt.Errorf("reading the pod's name: %w", err)
	}
	text, err := read(PodUIDFile)
	if err != nil {
		return step.Pod{}, fmt.Errorf("reading the pod's UID: %w", err)
	}
	uid, err := signing.ParseUID(text)
	if err != nil {
		return step.Pod{}, fmt.Errorf("reading the pod's UID: %w", err)
	}
	return step.Pod{Name: name, UID: uid}, nil
}

// fetch returns the SVID of the TaskRun. It asks again until the agent has it, or ctx ends.
func (s *Signer) fetch(ctx context.Context) (*x509svid.SVID, error) {
	if s.options.Step.Hasty {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, hastyLimit)
		defer cancel()
	}
	c := s.options.Step.Config
	socket := path.Join(s.options.Root, SocketDir, c.SPIRE.Socket)
	client, err := workloadapi.New(ctx, workloadapi.WithAddr("unix://"+socket), dialOften())
	if err != nil {
		return nil, fmt.Errorf("connecting to SPIRE's agent at %s: %w", socket, err)
	}
	defer client.Close()
	want := spire.TaskRunID(c.SPIRE.TrustDomain, c.Namespace, c.TaskRun)
	began, last := s.options.Now(), error(nil)
	for {
		svid, err := fetchOnce(ctx, client, want, s.options.Now())
		if err == nil {
			return svid, nil
		}
		if ctx.Err() == nil || last == nil { // what ends with ctx hides the reason
			last = err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("expected the SVID %s within %v, got none: %w",
				want, s.options.Now().Sub(began).Round(time.Second), last)
		case <-time.After(retryPause):
		}
	}
}

// dialOften makes gRPC connect again soon after the agent was restarted. By default, it waits up to two minutes.
func dialOften() workloadapi.ClientOption {
	pause := backoff.Config{BaseDelay: retryPause, Multiplier: 1.5, Jitter: 0.2, MaxDelay: time.Second}
	return workloadapi.WithDialOptions(grpc.WithConnectParams(grpc.ConnectParams{Backoff: pause}))
}

// fetchOnce asks the agent once. A pod may have other identities as well.
func fetchOnce(ctx context.Context, client *workloadapi.Client, id string, now time.Time) (*x509svid.SVID, error) {
	svids, err := client.FetchX509SVIDs(ctx)
	switch {
	case status.Code(err) == codes.PermissionDenied:
		return nil, fmt.Errorf("%w: check its entries (spire-server entry show) and the log of the add-on", errNoIdentity)
	case status.Code(err) == codes.Unavailable:
		return nil, fmt.Errorf("SPIRE's agent on this node does not answer: check its pod and the CSI driver: %w", err)
	case err != nil:
		return nil, fmt.Errorf("asking SPIRE's agent: %w", err)
	}
	var others []string
	for _, svid := range svids {
		if svid.ID.String() != id {
			others = append(others, svid.ID.String())
			continue
		}
		if leaf := svid.Certificates[0]; now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
			return nil, fmt.Errorf("expected an SVID that is valid now, got one that is valid from %s to %s: "+
				"check the node's clock and SPIRE's agent", leaf.NotBefore.UTC().Format(time.RFC3339),
				leaf.NotAfter.UTC().Format(time.RFC3339))
		}
		return svid, nil
	}
	slices.Sort(others)
	return nil, fmt.Errorf("%w, only for %s: check its entries (spire-server entry show)",
		errNoIdentity, strings.Join(others, ", "))
}
