# frozen_string_literal: true

require 'socket'

module LambdaRuntime
  # An event as the Runtime API gave it.
  class Invocation
    attr_reader :body

    def initialize(headers, body)
      @headers = headers
      @body = body
    end

    def [](header)
      @headers[header.downcase]
    end

    def request_id
      self['lambda-runtime-aws-request-id']
    end

    def trace_id
      self['lambda-runtime-trace-id']
    end
  end

  # The Runtime API over one connection that is kept (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
  class RuntimeApi
    # Nobody answers any more.
    class Gone < StandardError; end

    PREFIX = '/2018-06-01/runtime'

    def initialize(address)
      @address = address
      host, _, port = address.rpartition(':')
      @socket = TCPSocket.new(host, port.to_i)
      @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
    rescue SystemCallError => e
      raise Gone, e.message
    end

    def next_invocation
      status, headers, body = exchange("GET #{PREFIX}/invocation/next HTTP/1.1\r\nHost: #{@address}\r\n\r\n")
      raise Gone, "Received #{status} when waiting for next invocation." unless status == 200

      Invocation.new(headers, body.force_encoding(Encoding::UTF_8))
    end

    def respond(invocation, body, content_type)
      post("/invocation/#{invocation.request_id}/response", body, content_type)
    end

    def invocation_error(invocation, failure)
      post("/invocation/#{invocation.request_id}/error", failure.to_h.to_json, 'application/json',
           "Lambda-Runtime-Function-Error-Type: #{failure.reported_type}\r\n" \
           "Lambda-Runtime-Function-XRay-Error-Cause: #{failure.cause}\r\n")
    end

    def init_error(failure)
      post('/init/error', failure.to_h.to_json, 'application/json',
           "Lambda-Runtime-Function-Error-Type: #{failure.reported_type}\r\n")
    end

    private

    def post(path, body, content_type, more = '')
      exchange("POST #{PREFIX}#{path} HTTP/1.1\r\nHost: #{@address}\r\nContent-Type: #{content_type}\r\n#{more}" \
               "Content-Length: #{body.bytesize}\r\n\r\n".b << body.b)
    end

    def exchange(request)
      @socket.write(request)
      status = @socket.gets("\r\n")&.split(' ', 3)&.at(1).to_i
      headers = {}
      until (line = @socket.gets("\r\n")) == "\r\n"
        raise Gone, 'The connection was closed.' if line.nil?

        name, value = line.chomp.split(':', 2)
        headers[name.downcase] = value.strip
      end
      [status, headers, @socket.read(headers['content-length'].to_i)]
    rescue SystemCallError, IOError => e
      raise Gone, e.message
    end
  end
end
