# frozen_string_literal: true

module AwsLambda
  # Events to objects, and objects to responses. Functions may replace either method, as with AWS's client.
  class Marshaller
    class << self
      # The event as the handler gets it: parsed, if it is JSON.
      def marshall_request(invocation)
        invocation['Content-Type'] == 'application/json' ? JSON.parse(invocation.body) : invocation.body
      end

      # The response, or the response and its content type. A stream is passed on as it is.
      def marshall_response(result)
        case result
        when StringIO, IO then [result, 'application/unknown']
        else result.to_json
        end
      end
    end
  end
end
