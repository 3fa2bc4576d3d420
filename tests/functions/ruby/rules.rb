# What a function sees and can do, as methods that handlers name.
require 'logger'
require 'stringio'

LOGGER = Logger.new($stdout)
$invocations = 0

def look(event:, context:)
  $invocations += 1
  {
    invocations: $invocations,
    requestId: context.aws_request_id,
    arn: context.invoked_function_arn,
    remainingMs: context.get_remaining_time_in_millis,
    memoryMb: context.memory_limit_in_mb,
    logGroup: context.log_group_name,
    clientContext: context.client_context,
    deadlineMs: context.deadline_ms,
    directory: Dir.pwd,
    uid: Process.uid,
    file: __FILE__,
    variables: ENV.to_h
  }
end

def print_all(event:, context:)
  puts "put: #{event['text']}", 'its second line'
  $stdout.puts "printed: #{event['text']}"
  warn "on the other: #{event['text']}"
  LOGGER.info("informed: #{event['text']}")
  LOGGER.debug("debugged: #{event['text']}")
  begin
    raise ArgumentError, 'logged'
  rescue ArgumentError => e
    LOGGER.error(e)
  end
end

def use(event:, context:)
  require 'from_a_layer'
  FROM_A_LAYER
end

def fail_with(event:, context:)
  case event
  when 'name' then not_defined
  when 'argument' then raise ArgumentError, 'ä bad one'
  when 'exit' then exit 3
  when 'hard exit' then exit! 3
  when 'deep' then deeper
  when 'stream' then StringIO.new('{"streamed": true}')
  when 'sleep' then sleep
  else event
  end
end

def deeper
  deeper
end

module Inner
  class Handlers
    def self.process(event:, context:)
      "processed #{event}"
    end
  end
end
