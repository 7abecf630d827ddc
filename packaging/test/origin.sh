#!/bin/bash
# A web server on standard input and output, for one request. `/slow` takes 15 seconds.
IFS=' ' read -r _ path _
while IFS= read -r line && [ "$line" != $'\r' ]; do :; done
printf 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n'
if [[ $path == */slow ]]; then
  for _ in $(seq 15); do
    printf 'slow\n'
    sleep 1
  done
fi
printf 'origin\n'
