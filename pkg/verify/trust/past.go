// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// pathHistory is where the ConfigMaps of the trust history are.
const pathHistory = "/api/v1/namespaces/" + settings.Namespace + "/configmaps"

// maxHistory caps the answer that holds the history, in bytes. The escaped quotes of JSON in JSON need extra
// room.
const maxHistory = 4 * HistoryMaps * HistoryBytes

// clockTolerance is how far in the future the last sighting of a key may be, because clocks differ.
const clockTolerance = 5 * time.Minute

// Past describes whether a cluster's history was read.
type Past struct {
	Found    bool    // the cluster has a history
	Problems []error // why it was not read, or not completely
}

// FetchWithHistory is Fetch with the trust history that the add-on keeps: it also returns keys that are no
// longer in use, and the window of each key. Without a history, or without the permission to list ConfigMaps
// in the add-on's namespace, it does the same as Fetch, and Past shows why. now becomes the last sighting of
// the keys in use.
func FetchWithHistory(ctx context.Context, client rest.Interface, name string, now time.Time) (*Cluster, Past, error) {
	live, err := Fetch(ctx, client, name)
	if err != nil {
		return nil, Past{}, err
	}
	h, past, err := fetchHistory(ctx, client, live.UID, now)
	if err != nil {
		return nil, Past{}, err
	}
	if past.Found {
		if err = h.Observe(live, now); err == nil {
			var united *Cluster
			if united, err = h.Cluster(name, live.UID); err == nil {
				return united, past, nil
			}
		}
		past = Past{Problems: append(past.Problems, err)}
	}
	for _, issuer := range live.ServiceAccountIssuers {
		for i := range issuer.Keys {
			issuer.Keys[i].LastSeen = At(now)
		}
	}
	return live, past, nil
}

// fetchHistory reads the history of the cluster with this UID. A cluster without a history is not an error.
func fetchHistory(ctx context.Context, client rest.Interface, uid string, now time.Time) (History, Past, error) {
	data, err := client.Get().AbsPath(pathHistory).SetHeader("Accept", "application/json").DoRaw(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return nil, Past{}, nil
	case apierrors.IsForbidden(err):
		return nil,
			Past{Problems: []error{fmt.Errorf("not allowed to list ConfigMaps in namespace %s", settings.Namespace)}}, nil
	case err != nil:
		return nil, Past{}, fmt.Errorf("reading the trust history: %w", err)
	case len(data) > maxHistory:
		return nil, Past{}, fmt.Errorf("reading the trust history: expected at most %d bytes, got %d", maxHistory, len(data))
	}
	var list corev1.ConfigMapList
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, Past{}, fmt.Errorf("reading the trust history: %w", err)
	}
	h, problems := ReadHistory(list.Items, uid)
	problems = append(problems, h.DropFuture(now)...)
	if len(h) == 0 && len(problems) > 0 {
		problems = append(problems, errors.New("no entry of the trust history can be used"))
	}
	return h, Past{Found: len(h) > 0, Problems: problems}, nil
}

// DropFuture removes sightings from the future, and returns an error for each.
func (h History) DropFuture(now time.Time) []error {
	var problems []error
	for key, sightings := range h {
		var good []Sighting
		for _, s := range sightings {
			if s.LastSeen.After(now.Add(clockTolerance)) {
				problems = append(problems, fmt.Errorf("%s: last seen in the future, at %s", key, s.LastSeen.Format(time.RFC3339)))
				continue
			}
			good = append(good, s)
		}
		if len(good) == 0 {
			delete(h, key)
			continue
		}
		h[key] = good
	}
	return problems
}
