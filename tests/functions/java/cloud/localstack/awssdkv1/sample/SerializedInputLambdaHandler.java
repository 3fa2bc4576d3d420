package cloud.localstack.awssdkv1.sample;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;

/** Takes and answers an object of a class of its own. */
public class SerializedInputLambdaHandler
        implements RequestHandler<SerializedInputLambdaHandler.Input, SerializedInputLambdaHandler.Input> {
    @Override
    public Input handleRequest(Input event, Context context) {
        event.setValidated("test_bucket".equals(event.getBucket()));
        return event;
    }

    public static class Input {
        private String bucket;
        private String key;
        private boolean validated;

        public String getBucket() {
            return bucket;
        }

        public void setBucket(String bucket) {
            this.bucket = bucket;
        }

        public String getKey() {
            return key;
        }

        public void setKey(String key) {
            this.key = key;
        }

        public boolean isValidated() {
            return validated;
        }

        public void setValidated(boolean validated) {
            this.validated = validated;
        }
    }
}
