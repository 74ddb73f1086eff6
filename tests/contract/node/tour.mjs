// Calls every operation that is built through the AWS SDK for JavaScript and prints what came back as JSON.
// Usage: node tour.mjs CELEBRITY.jpg SAME_PERSON.jpg PAGE.png; credentials and the endpoint come from the environment.
import { readFile } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import * as sdk from "@aws-sdk/client-rekognition";

const client = new sdk.RekognitionClient({});
const [person, same, page] = await Promise.all(process.argv.slice(2).map((path) => readFile(path)));
const collection = { CollectionId: `js-${randomUUID()}` };
const answers = {};
const errors = {};

async function call(operation, input) {
  const { $metadata, ...answer } = await client.send(new sdk[`${operation}Command`](input));
  answers[operation] = { status: $metadata.httpStatusCode, attempts: $metadata.attempts, answer };
  return answer;
}

async function fail(name, operation, input) {
  try {
    await client.send(new sdk[`${operation}Command`](input));
  } catch (error) {
    errors[name] = {
      name: error.name,
      message: error.message,
      typed: error instanceof (sdk[error.name] ?? Array),
      service: error instanceof sdk.RekognitionServiceException,
      status: error.$metadata?.httpStatusCode,
      attempts: error.$metadata?.attempts,
      requestId: error.$metadata?.requestId,
    };
  }
}

await call("CreateCollection", { ...collection, Tags: { a: "1" } });
const { CollectionARN: ResourceArn } = await call("DescribeCollection", collection);
await call("ListCollections", { MaxResults: 4096 });
await call("DetectFaces", { Image: { Bytes: person }, Attributes: ["ALL"] });
await call("CompareFaces", { SourceImage: { Bytes: person }, TargetImage: { Bytes: same } });
await call("DetectLabels", { Image: { Bytes: person }, Features: ["GENERAL_LABELS", "IMAGE_PROPERTIES"] });
await call("DetectModerationLabels", { Image: { Bytes: person } });
await call("DetectText", { Image: { Bytes: page } });
const SummarizationAttributes = { MinConfidence: 80, RequiredEquipmentTypes: ["FACE_COVER"] };
await call("DetectProtectiveEquipment", { Image: { Bytes: person }, SummarizationAttributes });
const { CelebrityFaces } = await call("RecognizeCelebrities", { Image: { Bytes: same } });
await call("GetCelebrityInfo", { Id: CelebrityFaces[0].Id });

const first = await call("IndexFaces", { ...collection, Image: { Bytes: same }, ExternalImageId: "same" });
const second = await call("IndexFaces", { ...collection, Image: { Bytes: person }, ExternalImageId: "person" });
const FaceIds = [first, second].map(({ FaceRecords }) => FaceRecords[0].Face.FaceId);
const pages = [];
// A copy, since the paginator writes into what it is given.
const paginator = sdk.paginateListFaces({ client, pageSize: 1 }, { ...collection });
for await (const page of paginator) pages.push(page.Faces.length);
await call("ListFaces", collection);
await call("SearchFaces", { ...collection, FaceId: FaceIds[0] });
await call("SearchFacesByImage", { ...collection, Image: { Bytes: person } });

// A film and a manifest that lie in the server's bucket.
async function job(start, get, member, input) {
  const { JobId } = await call(start, input);
  for (;;) {
    const answer = await call(get, { JobId });
    if (!["CREATED", "QUEUED", "IN_PROGRESS"].includes(answer[member])) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
const Video = { S3Object: { Bucket: "local", Name: "interview.mp4" } };
const kinds = {
  LabelDetection: {},
  FaceDetection: {},
  FaceSearch: collection,
  PersonTracking: {},
  CelebrityRecognition: {},
  ContentModeration: {},
  TextDetection: {},
  SegmentDetection: { SegmentTypes: ["SHOT", "TECHNICAL_CUE"] },
};
for (const [kind, input] of Object.entries(kinds)) {
  await job(`Start${kind}`, `Get${kind}`, "JobStatus", { Video, ...input });
}
await job("StartMediaAnalysisJob", "GetMediaAnalysisJob", "Status", {
  OperationsConfig: { DetectModerationLabels: {} },
  Input: { S3Object: { Bucket: "local", Name: "manifest.jsonl" } },
  OutputConfig: { S3Bucket: "local" },
});
await call("ListMediaAnalysisJobs", {});

await call("CreateUser", { ...collection, UserId: "u" });
await call("AssociateFaces", { ...collection, UserId: "u", FaceIds });
await call("ListUsers", collection);
await call("SearchUsers", { ...collection, FaceId: FaceIds[0] });
await call("SearchUsersByImage", { ...collection, Image: { Bytes: person } });
await fail("conflict", "CreateUser", { ...collection, UserId: "u" });
await call("DisassociateFaces", { ...collection, UserId: "u", FaceIds });
await call("DeleteUser", { ...collection, UserId: "u" });
await call("DeleteFaces", { ...collection, FaceIds });

await call("TagResource", { ResourceArn, Tags: { b: "2" } });
await call("UntagResource", { ResourceArn, TagKeys: ["a"] });
await call("ListTagsForResource", { ResourceArn });
await call("DeleteCollection", collection);

await fail("missing", "DescribeCollection", collection);
await fail("format", "DetectFaces", { Image: { Bytes: Buffer.from("GIF89a") } });
await fail("validation", "CreateCollection", { CollectionId: "a/b" });
await fail("unbuilt", "ListStreamProcessors", {});

console.log(JSON.stringify({ answers, errors, pages, FaceIds }));
