#!/bin/sh
# As the entry point of AWS's base images: the argument is the handler, and the emulator is for those who name no Runtime API.
if [ $# -ne 1 ]; then
    echo "entrypoint requires the handler name to be the first argument" 1>&2
    exit 142
fi
export _HANDLER="$1"
if [ -z "${AWS_LAMBDA_RUNTIME_API}" ]; then
    echo "this stand-in has no emulator: set AWS_LAMBDA_RUNTIME_API" 1>&2
    exit 1
fi
exec /var/runtime/bootstrap
