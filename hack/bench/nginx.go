package main

import (
	"context"
	"fmt"
	"path/filepath"
)

// behindNginx measures the processor time of a request in nginx and in the server that nginx asks, with the guide's
// configuration.
func behindNginx(ctx context.Context, bed *testbed) error {
	dir, own, none, err := bed.pair(ctx)
	if err != nil {
		return err
	}
	api, err := bed.serve(ctx, "none") // It is behind both, and not measured.
	if err != nil {
		return err
	}
	who := wrkClients{file: filepath.Join(dir, "clients"), passes: true}
	if err := draw(who.file, bed.times(servedKeys), servedKeys, itself); err != nil {
		return err
	}
	var behind [2]*contender
	for i, authorizer := range []*process{none, own} {
		p, err := bed.startFront(ctx, nginxFront, filepath.Join(dir, fmt.Sprintf("nginx-%d", i)), "", authorizer, api)
		if err != nil {
			return err
		}
		behind[i], _ = bed.through(ctx, p, authorizer, who)
	}
	if err := alternate(bed.times(loadRounds), behind[:]...); err != nil {
		return err
	}
	behind[1].beside(bed.results, behind[0], 0, "nginx: CPU of a request, nginx and verifier, by nginx and net/http", 1.05)
	return nil
}
